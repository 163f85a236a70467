#pragma once
// MLA attention on an int8 latent: S from int32 dot products and an fp32 rope part, P as u8 against the
// tile's maximum, P.V in int32, tiles combined in fp32. Source: docs/numerics.md, "Native attention".
//
// Per tile of 64 keys: QK for a block of keys and all rows (the keys stay in L1), softmax, then for each
// strip of dimensions its transpose and PV for all rows (the values stay in L1). Keys are u8 with 128 added,
// so S starts at -128 * sum(q). The tile is P's scale: tiles of 128 keys are 4 % faster, but their P makes
// half of the error of an int8 cache (docs/accuracy.md).

#include <cstdint>
#include <cstring>

#include "kernels/algo/softmax_tile.inl.h"
#include "kernels/algo/transpose_tile.inl.h"
#include "kernels/attend_args.h"
#include "kernels/latent_layout.h"

namespace latent8 {
namespace {

struct AttendS8 {
  const MlaAttendS8Args& args;
  float* k_pe;          // [tile / kBlockKeys][rope][kBlockKeys] fp32
  std::int8_t* values;  // a strip of the tile transposed, transpose_tile.inl.h
  float* s;             // [rows, kTileKeys]
  std::uint8_t* p8;     // [rows, kTileKeys]
  std::int32_t* q_sum;  // [rows] sum over the rank of q
  float* out;           // strips of [rows, w dims]: 5 % faster than rows of args.out, whose
                        // distance aliases in the L1 cache
  TileState state;
  const char* group[kTileGroups];  // of the tile; missing ones repeat the last
  std::int64_t padded;             // keys of the tile that PV reads, a multiple of 16
};

inline std::int32_t four_bytes(const void* p) {
  std::int32_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// S of R rows and the key block that starts at key `key` of the tile.
template <class Isa, int R>
void qk_block(const AttendS8& t, std::int64_t row, std::int64_t key, TilePrefetch& next) {
  constexpr int V = kBlockVectors<Isa>;
  const std::int64_t rank = t.args.rank, rope = t.args.rope;
  typename Isa::I acc[R][V];
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v) acc[i][v] = Isa::iset1(-128 * t.q_sum[row + i]);
  const char* keys[V];
  for (int v = 0; v < V; ++v) {
    const std::int64_t k = key + v * Isa::kLanes;
    keys[v] = t.group[k / kGroupKeys] + k % kGroupKeys * 4;
  }
  const std::int8_t* q = t.args.q + row * rank;
  next.take(rank / 4);
  for (std::int64_t d = 0; d < rank; d += 4) {
    __builtin_prefetch(next.at + d / 4 * next.step, 0, 2);
    typename Isa::I k[V];
    for (int v = 0; v < V; ++v) k[v] = Isa::iload(keys[v] + d * kGroupKeys);
    for (int i = 0; i < R; ++i) {
      const auto x = Isa::iset1(four_bytes(q + i * rank + d));
      for (int v = 0; v < V; ++v) acc[i][v] = Isa::dot(acc[i][v], k[v], x);
    }
  }

  typename Isa::F s[R][V];
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v)
      s[i][v] = Isa::mul(Isa::to_float(acc[i][v]), Isa::set1(t.args.qk_scale[row + i]));
  const float* q_pe = t.args.q_pe + row * rope;
  const float* k_pe = t.k_pe + key * rope;
  for (std::int64_t r = 0; r < rope; ++r) {
    typename Isa::F k[V];
    for (int v = 0; v < V; ++v) k[v] = Isa::load(k_pe + r * kBlockKeys<Isa> + v * Isa::kLanes);
    for (int i = 0; i < R; ++i) {
      const auto x = Isa::set1(q_pe[i * rope + r]);
      for (int v = 0; v < V; ++v) s[i][v] = Isa::fma(x, k[v], s[i][v]);
    }
  }
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v) Isa::store(t.s + (row + i) * kTileKeys + key + v * Isa::kLanes, s[i][v]);
}

// out = out * alpha + float(P8 . V8) * beta for R rows and V vectors of dimensions from d on.
template <class Isa, int R, int V>
void pv_block(const AttendS8& t, std::int64_t row, std::int64_t d, TilePrefetch& next) {
  const Strip<Isa> strip(d, t.args.rank);
  const std::int8_t* values = t.values + (d - strip.begin) * 4;
  const std::uint8_t* p8 = t.p8 + row * kTileKeys;
  float* out = t.out + strip.begin * t.args.rows + row * strip.width + d - strip.begin;
  typename Isa::I acc[R][V];
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v) acc[i][v] = Isa::izero();
  next.take(t.padded / 4);
  for (std::int64_t begin = 0; begin < t.padded; begin += 16)
    for (int step = 0; step < 4; ++step) {  // unrolled: a loop of few trips predicts its end
      const std::int64_t key = begin + step * 4;
      __builtin_prefetch(next.at + key / 4 * next.step, 0, 2);
      typename Isa::I x[V];
      for (int v = 0; v < V; ++v) x[v] = Isa::iload(values + key * strip.width + v * Isa::kLanes * 4);
      for (int i = 0; i < R; ++i) {
        const auto p = Isa::iset1(four_bytes(p8 + i * kTileKeys + key));
        for (int v = 0; v < V; ++v) acc[i][v] = Isa::dot(acc[i][v], p, x[v]);
      }
    }
  for (int i = 0; i < R; ++i) {
    const auto alpha = Isa::set1(t.state.alpha[row + i]), beta = Isa::set1(t.state.beta[row + i]);
    for (int v = 0; v < V; ++v) {
      float* at = out + i * strip.width + v * Isa::kLanes;
      Isa::store(at, Isa::fma(Isa::to_float(acc[i][v]), beta, Isa::mul(Isa::load(at), alpha)));
    }
  }
}

template <class Isa, int R = kBlockRows<Isa>>
void qk_rows(const AttendS8& t, std::int64_t row, std::int64_t rows, std::int64_t key, TilePrefetch& next) {
  if (rows == R) return qk_block<Isa, R>(t, row, key, next);
  if constexpr (R > 1) qk_rows<Isa, R - 1>(t, row, rows, key, next);
}

template <class Isa, int R = kBlockRows<Isa>>
void pv_rows(const AttendS8& t, std::int64_t row, std::int64_t rows, std::int64_t d, TilePrefetch& next) {
  if (rows == R) {
    constexpr int V = kBlockVectors<Isa>;
    if (d + V * Isa::kLanes <= t.args.rank) return pv_block<Isa, R, V>(t, row, d, next);
    for (; d < t.args.rank; d += Isa::kLanes) pv_block<Isa, R, 1>(t, row, d, next);
    return;
  }
  if constexpr (R > 1) pv_rows<Isa, R - 1>(t, row, rows, d, next);
}

// Keys [begin, begin + keys) of the run.
template <class Isa>
void attend_tile_s8(AttendS8& t, std::int64_t begin, std::int64_t keys, TilePrefetch& next) {
  const MlaAttendS8Args& a = t.args;
  const std::int64_t n_groups = (keys + kGroupKeys - 1) / kGroupKeys;
  t.padded = n_groups * kGroupKeys;
  for (std::int64_t g = 0; g < kTileGroups; ++g) {
    const std::int64_t present = g < n_groups ? g : n_groups - 1;
    t.group[g] = static_cast<const char*>(a.groups[begin / kGroupKeys + present]);
  }
  // Row blocks of nearly equal height: short ones do not fill the pipeline.
  const std::int64_t blocks = (a.rows + kBlockRows<Isa> - 1) / kBlockRows<Isa>;
  for (std::int64_t key = 0; key < t.padded; key += kBlockKeys<Isa>) {
    const std::int64_t first = key / kGroupKeys, last = (key + kBlockKeys<Isa> + kGroupKeys - 1) / kGroupKeys;
    if (key % kGroupKeys == 0)
      for (std::int64_t g = first; g < last; ++g)
        widen_k_pe<Isa>(t.group[g] + a.rank * kGroupKeys, g, a.rope, t.k_pe);
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t row = a.rows * b / blocks;
      qk_rows<Isa>(t, row, a.rows * (b + 1) / blocks - row, key, next);
    }
  }
  softmax_tile<Isa, true>(t.state, a.visible, a.rows, a.key_begin + begin, keys, t.padded, t.s, t.p8);
  combine_tile<Isa>(t.state, a.rows, a.v_scale / 255.0F, a.max, a.sum);
  for (std::int64_t d = 0; d < a.rank; d += kBlockKeys<Isa>) {
    const Strip<Isa> strip(d, a.rank);
    if (d == strip.begin)
      for (std::int64_t g = 0; g < n_groups; ++g)
        transpose_s8_strip<Isa>(t.group[g] + d * kGroupKeys, strip.width,
                                t.values + g * kGroupKeys * strip.width);
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t row = a.rows * b / blocks;
      pv_rows<Isa>(t, row, a.rows * (b + 1) / blocks - row, d, next);
    }
  }
}

template <class Isa>
void mla_attend_s8(const MlaAttendS8Args& a) {
  auto* scratch = static_cast<float*>(a.scratch);
  AttendS8 t{.args = a, .k_pe = scratch};
  t.s = t.k_pe + kTileKeys * a.rope;
  t.state = {t.s + kAttendMaxRows * kTileKeys, t.s + kAttendMaxRows * (kTileKeys + 1),
             t.s + kAttendMaxRows * (kTileKeys + 2), t.s + kAttendMaxRows * (kTileKeys + 3)};
  t.q_sum = reinterpret_cast<std::int32_t*>(t.state.beta + kAttendMaxRows);
  t.values = reinterpret_cast<std::int8_t*>(t.q_sum + kAttendMaxRows);
  t.p8 = reinterpret_cast<std::uint8_t*>(t.values + kTileKeys * kStrip<Isa>);
  t.out = reinterpret_cast<float*>(t.p8 + kAttendMaxRows * kTileKeys);
  std::int64_t run_keys = 0;  // that a row sees
  for (std::int64_t row = 0; row < a.rows; ++row) {
    std::int32_t sum = 0;
    for (std::int64_t d = 0; d < a.rank; ++d) sum += a.q[row * a.rank + d];
    t.q_sum[row] = sum;
    a.max[row] = kNegativeInfinity;
    a.sum[row] = 0.0F;
    if (a.visible[row] - a.key_begin > run_keys) run_keys = a.visible[row] - a.key_begin;
  }
  if (run_keys > a.n_keys) run_keys = a.n_keys;
  std::memset(t.out, 0, static_cast<std::size_t>(a.rows * a.rank) * sizeof(float));

  const std::int64_t group_bytes = kGroupKeys * (a.rank + 2 * a.rope);
  for (std::int64_t begin = 0; begin < run_keys; begin += kTileKeys) {
    const std::int64_t keys = run_keys - begin < kTileKeys ? run_keys - begin : kTileKeys;
    const std::int64_t left = (run_keys - begin - keys + kGroupKeys - 1) / kGroupKeys;
    TilePrefetch next(a.groups + (begin + keys) / kGroupKeys, left < kTileGroups ? left : kTileGroups,
                      group_bytes, a.q);
    attend_tile_s8<Isa>(t, begin, keys, next);
  }
  for (std::int64_t d = 0; d < a.rank; d += kStrip<Isa>) {
    const Strip<Isa> strip(d, a.rank);
    for (std::int64_t row = 0; row < a.rows; ++row)
      std::memcpy(a.out + row * a.rank + d, t.out + d * a.rows + row * strip.width,
                  static_cast<std::size_t>(strip.width) * sizeof(float));
  }
}

}  // namespace
}  // namespace latent8
