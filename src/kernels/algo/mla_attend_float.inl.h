#pragma once
// MLA attention on a float cache: fp16 or fp32 latents, widened in registers, everything else fp32. Same walk
// over tiles as mla_attend_s8.inl.h.

#include <cstdint>
#include <cstring>

#include "kernels/algo/softmax_tile.inl.h"
#include "kernels/algo/transpose_tile.inl.h"
#include "kernels/attend_args.h"
#include "kernels/latent_layout.h"

namespace latent8 {
namespace {

// How a float cache holds an element.
struct Fp16Keys {
  static constexpr std::int64_t kBytes = 2;
  template <class Isa>
  static typename Isa::F load(const char* p) {
    return Isa::load_fp16(p);
  }
  template <class Isa>
  static void transpose_16x16(const char* in, float* out, std::int64_t stride) {
    Isa::transpose_fp16_16x16(in, out, stride);
  }
};
struct Fp32Keys {
  static constexpr std::int64_t kBytes = 4;
  template <class Isa>
  static typename Isa::F load(const char* p) {
    return Isa::load(reinterpret_cast<const float*>(p));
  }
  template <class Isa>
  static void transpose_16x16(const char* in, float* out, std::int64_t stride) {
    const auto* from = reinterpret_cast<const float*>(in);
    for (int key = 0; key < 16; ++key)
      for (int d = 0; d < 16; ++d) out[key * stride + d] = from[d * 16 + key];
  }
};

struct AttendFloat {
  const MlaAttendFloatArgs& args;
  float* s;       // [rows, kTileKeys], S and then P
  float* values;  // the tile transposed and widened, transpose_tile.inl.h
  TileState state;
  const char* group[kTileGroups];  // of the tile; missing ones repeat the last
  std::int64_t padded;             // keys of the tile that PV reads, a multiple of 16
};

// S += q [R, n] . k [n, 16 keys] for one part of a group: the latent, or k_pe. keys[v] points at dimension 0.
template <class Isa, class Keys, int R>
void add_scores(const float* q, std::int64_t n, const char* const* keys,
                typename Isa::F (&s)[R][kBlockVectors<Isa>]) {
  constexpr int V = kBlockVectors<Isa>;
  for (std::int64_t d = 0; d < n; ++d) {
    typename Isa::F k[V];
    for (int v = 0; v < V; ++v) k[v] = Keys::template load<Isa>(keys[v] + d * kGroupKeys * Keys::kBytes);
    for (int i = 0; i < R; ++i) {
      const auto x = Isa::set1(q[i * n + d]);
      for (int v = 0; v < V; ++v) s[i][v] = Isa::fma(x, k[v], s[i][v]);
    }
  }
}

template <class Isa, class Keys, int R>
void qk_block(const AttendFloat& t, std::int64_t row, std::int64_t key) {
  constexpr int V = kBlockVectors<Isa>;
  typename Isa::F s[R][V];
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v) s[i][v] = Isa::zero();
  const char *latent[V], *k_pe[V];
  for (int v = 0; v < V; ++v) {
    const std::int64_t k = key + v * Isa::kLanes;
    latent[v] = t.group[k / kGroupKeys] + k % kGroupKeys * Keys::kBytes;
    k_pe[v] = latent[v] + t.args.rank * kGroupKeys * Keys::kBytes;
  }
  add_scores<Isa, Keys, R>(t.args.q + row * t.args.rank, t.args.rank, latent, s);
  add_scores<Isa, Keys, R>(t.args.q_pe + row * t.args.rope, t.args.rope, k_pe, s);
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v) Isa::store(t.s + (row + i) * kTileKeys + key + v * Isa::kLanes, s[i][v]);
}

// out = out * alpha + P.V * beta for R rows and V vectors of dimensions from d on.
template <class Isa, int R, int V>
void pv_block(const AttendFloat& t, std::int64_t row, std::int64_t d) {
  const Strip<Isa> strip(d, t.args.rank);
  const float* values = t.values + strip.begin * kTileKeys + d - strip.begin;
  const float* p = t.s + row * kTileKeys;
  float* out = t.args.out + row * t.args.rank + d;
  typename Isa::F acc[R][V];
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v) acc[i][v] = Isa::zero();
  for (std::int64_t key = 0; key < t.padded; ++key) {
    typename Isa::F x[V];
    for (int v = 0; v < V; ++v) x[v] = Isa::load(values + key * strip.width + v * Isa::kLanes);
    for (int i = 0; i < R; ++i) {
      const auto weight = Isa::set1(p[i * kTileKeys + key]);
      for (int v = 0; v < V; ++v) acc[i][v] = Isa::fma(weight, x[v], acc[i][v]);
    }
  }
  for (int i = 0; i < R; ++i) {
    const auto alpha = Isa::set1(t.state.alpha[row + i]), beta = Isa::set1(t.state.beta[row + i]);
    for (int v = 0; v < V; ++v) {
      float* at = out + i * t.args.rank + v * Isa::kLanes;
      Isa::store(at, Isa::fma(acc[i][v], beta, Isa::mul(Isa::load(at), alpha)));
    }
  }
}

template <class Isa, class Keys, int R = kBlockRows<Isa>>
void qk_rows(const AttendFloat& t, std::int64_t row, std::int64_t rows, std::int64_t key) {
  if (rows == R) return qk_block<Isa, Keys, R>(t, row, key);
  if constexpr (R > 1) qk_rows<Isa, Keys, R - 1>(t, row, rows, key);
}

template <class Isa, int R = kBlockRows<Isa>>
void pv_rows(const AttendFloat& t, std::int64_t row, std::int64_t rows, std::int64_t d) {
  if (rows == R) {
    constexpr int V = kBlockVectors<Isa>;
    if (d + V * Isa::kLanes <= t.args.rank) return pv_block<Isa, R, V>(t, row, d);
    for (; d < t.args.rank; d += Isa::kLanes) pv_block<Isa, R, 1>(t, row, d);
    return;
  }
  if constexpr (R > 1) pv_rows<Isa, R - 1>(t, row, rows, d);
}

// Keys [begin, begin + keys) of the run.
template <class Isa, class Keys>
void attend_tile_float(AttendFloat& t, std::int64_t begin, std::int64_t keys) {
  const MlaAttendFloatArgs& a = t.args;
  const std::int64_t n_groups = (keys + kGroupKeys - 1) / kGroupKeys;
  t.padded = n_groups * kGroupKeys;
  for (std::int64_t g = 0; g < kTileGroups; ++g) {
    const std::int64_t present = g < n_groups ? g : n_groups - 1;
    t.group[g] = static_cast<const char*>(a.groups[begin / kGroupKeys + present]);
  }
  const std::int64_t blocks = (a.rows + kBlockRows<Isa> - 1) / kBlockRows<Isa>;
  for (std::int64_t key = 0; key < t.padded; key += kBlockKeys<Isa>)
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t row = a.rows * b / blocks;
      qk_rows<Isa, Keys>(t, row, a.rows * (b + 1) / blocks - row, key);
    }
  for (std::int64_t g = 0; g < n_groups; ++g) {
    const std::int64_t left = keys - g * kGroupKeys;
    transpose_float_group<Isa, Keys>(t.group[g], g, a.rank, left < kGroupKeys ? left : kGroupKeys, t.values);
  }
  softmax_tile<Isa, false>(t.state, a.visible, a.rows, a.key_begin + begin, keys, t.padded, t.s, nullptr);
  combine_tile<Isa>(t.state, a.rows, 1.0F, a.max, a.sum);
  for (std::int64_t d = 0; d < a.rank; d += kBlockKeys<Isa>)
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t row = a.rows * b / blocks;
      pv_rows<Isa>(t, row, a.rows * (b + 1) / blocks - row, d);
    }
}

// Keys that some row sees must be finite: their values meet a weight of 0 in the rows that do not see them.
template <class Isa, class Keys>
void mla_attend_float(const MlaAttendFloatArgs& a) {
  auto* scratch = static_cast<float*>(a.scratch);
  AttendFloat t{.args = a, .s = scratch};
  t.state = {t.s + kAttendMaxRows * kTileKeys, t.s + kAttendMaxRows * (kTileKeys + 1),
             t.s + kAttendMaxRows * (kTileKeys + 2), t.s + kAttendMaxRows * (kTileKeys + 3)};
  t.values = t.state.beta + kAttendMaxRows;
  std::int64_t run_keys = 0;  // that a row sees
  for (std::int64_t row = 0; row < a.rows; ++row) {
    a.max[row] = kNegativeInfinity;
    a.sum[row] = 0.0F;
    if (a.visible[row] - a.key_begin > run_keys) run_keys = a.visible[row] - a.key_begin;
  }
  if (run_keys > a.n_keys) run_keys = a.n_keys;
  std::memset(a.out, 0, static_cast<std::size_t>(a.rows * a.rank) * sizeof(float));
  for (std::int64_t begin = 0; begin < run_keys; begin += kTileKeys)
    attend_tile_float<Isa, Keys>(t, begin, run_keys - begin < kTileKeys ? run_keys - begin : kTileKeys);
}

}  // namespace
}  // namespace latent8
