#pragma once
// Double-precision references of MLA attention over one run of keys, for tests: slow, dense, plain C++.

#include <cstdint>
#include <vector>

namespace latent8 {

// Queries and keys as exact values. Keys [0, n_keys) of the run; key i has the absolute position key_begin +
// i.
struct MlaRefArgs {
  std::int64_t rows, rank, rope, n_keys, key_begin;
  std::int64_t tile_keys;       // that share a maximum of P (s8 only)
  const double* q;              // [rows, rank] codes (s8) or absorbed queries times the softmax scale
  const double* qk_scale;       // [rows] (s8 only)
  const double* q_pe;           // [rows, rope] times the softmax scale
  const double* k;              // [n_keys, rank] codes (s8) or latents
  const double* k_pe;           // [n_keys, rope]
  const std::int32_t* visible;  // [rows]
  double v_scale;               // (s8 only)
};

struct MlaRefResult {
  std::vector<double> out;  // [rows, rank] sum of exp(S - max) V
  std::vector<double> max;  // [rows] -inf if the row sees no key
  std::vector<double> sum;  // [rows] sum of exp(S - max)
  // [rows] bound of what P8 codes that lie within 1e-3 of a rounding tie can change in out (s8 only): the
  // kernel may round them the other way.
  std::vector<double> tie_slack;
};

// The int8 form with P8 = rint(255 exp(S - tile max)) per tile of tile_keys.
MlaRefResult mla_attend_s8_ref(const MlaRefArgs& args);
// Softmax attention without any rounding; qk_scale, v_scale and tile_keys are not read.
MlaRefResult mla_attend_ref(const MlaRefArgs& args);

}  // namespace latent8
