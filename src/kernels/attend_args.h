#pragma once
// Arguments of attention over one run of keys.

#include <cstdint>

namespace latent8 {

// Keys whose partial result is formed on its own. Runs are merged in ascending order whichever thread computed
// them, so their length is part of what the model computes, and every table has the same.
inline constexpr std::int64_t kRunKeys = 4096;

// One run of keys (at most kRunKeys, starting at a multiple of kRunKeys) for a block of query rows, which are
// any mixture of tokens and heads of one sequence. Keys lie in groups of 16 (kernels/latent_layout.h). Per
// tile of KernelTable::attend_tile_keys: S = int32(q8 . k8) * qk_scale + q_pe . k_pe; m = max S over visible
// keys; P = exp(S - m); the tile's sum of fp32 P and its integer product of P's codes and V8 are combined with
// the tiles before it in fp32 (flash-attention rescaling). Codes of P: rint(255 P) as u8, against that tile's
// maximum; a table may use finer ones, and says so in docs/kernels.md.
struct MlaAttendS8Args {
  const void* const* groups;    // [ceil(n_keys / 16)] groups of the run, first key first
  std::int64_t key_begin;       // absolute position of the run's first key
  std::int64_t n_keys;          // keys of the run that any row sees, >= 1
  std::int64_t rows;            // <= KernelTable::attend_rows
  std::int64_t rank;            // kv_lora_rank, a multiple of 16
  std::int64_t rope;            // qk_rope_head_dim
  const std::int8_t* q;         // [rows, rank] absorbed query codes, plain rows (the A operand of a tile, too)
  const float* qk_scale;        // [rows] q scale * k scale * softmax scale
  const float* q_pe;            // [rows, rope] times the softmax scale
  const std::int32_t* visible;  // [rows] the row sees absolute keys [0, visible)
  float v_scale;                // the layer's k scale
  float* out;                   // [rows, rank] sum of exp(S - max) V, not normalised
  float* max;                   // [rows] -inf if the row sees no key of the run
  float* sum;                   // [rows] sum of exp(S - max)
  void* scratch;                // KernelTable::attend_scratch_bytes(rank, rope), 64-byte aligned
};

// The same on a float cache (fp16 or fp32 elements): S = q . k + q_pe . k_pe in fp32, P stays fp32.
struct MlaAttendFloatArgs {
  const void* const* groups;
  std::int64_t key_begin, n_keys, rows, rank, rope;
  const float* q;     // [rows, rank] absorbed query times the softmax scale
  const float* q_pe;  // [rows, rope] times the softmax scale
  const std::int32_t* visible;
  float* out;
  float* max;
  float* sum;
  void* scratch;
};

}  // namespace latent8
