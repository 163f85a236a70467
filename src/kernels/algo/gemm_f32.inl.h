#pragma once
// Float linear layer, c = a * b^T, with b in its stored type. Lanes run over k with one accumulator register
// per output, k ascending, then one reduce_add: the same additions whatever the shape of the register tile.
//   few rows   one tile holds all rows of a; b is widened in registers and read once
//   many rows  kCols rows of b are widened into L1, kDepth of k at a time, and meet every tile of rows; the
//              accumulator registers wait on the stack between the pieces of k

#include <cstdint>

#include "kernels/algo/weights.inl.h"
#include "kernels/algo/with_size.inl.h"
#include "kernels/gemm_args.h"

namespace latent8 {
namespace {

template <class Isa, WeightType kType>
struct GemmF32 {
  using F = typename Isa::F;
  using W = Weights<Isa, kType>;
  static constexpr int kTile = 6;                              // rows of a per tile
  static constexpr int kCols = Isa::kRegisters == 32 ? 4 : 2;  // rows of b per tile
  static constexpr std::int64_t kRows = 96;                    // rows of a per pass
  static constexpr std::int64_t kDepth = 1024;                 // a multiple of kFp8Block

  // Rows of b per tile when M rows are all there are: as many accumulators as the registers hold.
  static constexpr int cols(int m) {
    if (Isa::kRegisters == 32) return m <= 3 ? 8 : m == 4 ? 6 : kCols;
    return m == 1 ? 8 : m == 2 ? 4 : m == 3 ? 3 : kCols;
  }

  // Columns [begin, end) of k, within one fp8 block; a points at column 0 of the tile's first row.
  template <int M, int N>
  static void accumulate(const GemmF32Args& p, const float* a, std::int64_t j, std::int64_t begin,
                         std::int64_t end, F (&acc)[M][N]) {
    F scale[N];
    for (int c = 0; c < N; ++c) scale[c] = W::scale(p, p.b_row0 + j + c, begin);
    std::int64_t at = begin;
    for (; at + Isa::kLanes <= end; at += Isa::kLanes) {
      F w[N];
      for (int c = 0; c < N; ++c) w[c] = W::load(p.b, (j + c) * p.b_stride + at, scale[c]);
      for (int t = 0; t < M; ++t) {
        const F x = Isa::load(a + t * p.a_stride + at);
        for (int c = 0; c < N; ++c) acc[t][c] = Isa::fma(x, w[c], acc[t][c]);
      }
    }
    if (at == end) return;
    const int rest = static_cast<int>(end - at);
    for (int c = 0; c < N; ++c) {
      const F w = W::load_n(p.b, (j + c) * p.b_stride + at, scale[c], rest);
      for (int t = 0; t < M; ++t)
        acc[t][c] = Isa::fma(Isa::load_n(a + t * p.a_stride + at, rest), w, acc[t][c]);
    }
  }

  template <int M, int N>
  static void tile(const GemmF32Args& p, std::int64_t j) {
    F acc[M][N];
    for (int t = 0; t < M; ++t)
      for (int c = 0; c < N; ++c) acc[t][c] = Isa::zero();
    for (std::int64_t at = 0; at < p.k;) {
      const std::int64_t end = W::block_end(at, p.k);
      accumulate<M, N>(p, p.a, j, at, end, acc);
      at = end;
    }
    for (int t = 0; t < M; ++t)
      for (int c = 0; c < N; ++c) p.c[t * p.c_stride + j + c] = Isa::reduce_add(acc[t][c]);
  }

  template <int M>
  static void few_rows(const GemmF32Args& p) {
    std::int64_t j = 0;
    for (; j + cols(M) <= p.n; j += cols(M)) tile<M, cols(M)>(p, j);
    for (; j < p.n; ++j) tile<M, 1>(p, j);
  }

  // Columns [begin, end) of N rows of b from row j as fp32: panel [columns / kLanes][N][kLanes], one stream
  // to read. Columns beyond end are zero.
  template <int N>
  static void widen(const GemmF32Args& p, std::int64_t j, std::int64_t begin, std::int64_t end,
                    float* panel) {
    for (std::int64_t at = begin; at < end; at += Isa::kLanes)
      for (int c = 0; c < N; ++c, panel += Isa::kLanes) {
        const F scale = W::scale(p, p.b_row0 + j + c, at);
        const std::int64_t index = (j + c) * p.b_stride + at;
        const F w = end - at >= Isa::kLanes ? W::load(p.b, index, scale)
                                            : W::load_n(p.b, index, scale, static_cast<int>(end - at));
        Isa::store(panel, w);
      }
  }

  // M rows of a, `depth` columns, against a widened panel; `sums` holds the accumulators between the pieces
  // of k.
  template <int M, int N>
  static void panel_tile(const GemmF32Args& p, const float* a, std::int64_t depth, const float* panel,
                         bool first, F (*sums)[N]) {
    F acc[M][N];
    for (int t = 0; t < M; ++t)
      for (int c = 0; c < N; ++c) acc[t][c] = first ? Isa::zero() : sums[t][c];
    std::int64_t at = 0;
    for (; at + Isa::kLanes <= depth; at += Isa::kLanes, panel += N * Isa::kLanes)
      for (int t = 0; t < M; ++t) {
        const F x = Isa::load(a + t * p.a_stride + at);
        for (int c = 0; c < N; ++c) acc[t][c] = Isa::fma(x, Isa::load(panel + c * Isa::kLanes), acc[t][c]);
      }
    if (at < depth)
      for (int t = 0; t < M; ++t) {
        const F x = Isa::load_n(a + t * p.a_stride + at, static_cast<int>(depth - at));
        for (int c = 0; c < N; ++c) acc[t][c] = Isa::fma(x, Isa::load(panel + c * Isa::kLanes), acc[t][c]);
      }
    for (int t = 0; t < M; ++t)
      for (int c = 0; c < N; ++c) sums[t][c] = acc[t][c];
  }

  // Rows [row_begin, row_end) of a, at most kRows, against N rows of b from row j.
  template <int N>
  static void columns(const GemmF32Args& p, std::int64_t row_begin, std::int64_t row_end, std::int64_t j) {
    alignas(64) float panel[N * kDepth];
    F sums[kRows][N];
    for (std::int64_t begin = 0; begin < p.k; begin += kDepth) {
      const std::int64_t end = p.k - begin < kDepth ? p.k : begin + kDepth;
      widen<N>(p, j, begin, end, panel);
      std::int64_t tiles = (row_end - row_begin + kTile - 1) / kTile;
      for (std::int64_t i = row_begin; i < row_end; --tiles) {
        const std::int64_t size = (row_end - i + tiles - 1) / tiles;
        const float* a = p.a + i * p.a_stride + begin;
        with_size<kTile>(static_cast<int>(size), [&](auto rows) {
          panel_tile<rows.value, N>(p, a, end - begin, panel, begin == 0, sums + (i - row_begin));
        });
        i += size;
      }
    }
    for (std::int64_t i = row_begin; i < row_end; ++i)
      for (int c = 0; c < N; ++c) p.c[i * p.c_stride + j + c] = Isa::reduce_add(sums[i - row_begin][c]);
  }

  static void run(const GemmF32Args& p) {
    if (p.m > kTile && p.k > 0) return many_rows(p);
    GemmF32Args part = p;
    for (; part.m > 0; part.m -= kTile, part.a += kTile * p.a_stride, part.c += kTile * p.c_stride)
      with_size<kTile>(part.m < kTile ? static_cast<int>(part.m) : kTile,
                       [&](auto rows) { few_rows<rows.value>(part); });
  }

  static void many_rows(const GemmF32Args& p) {
    for (std::int64_t i = 0; i < p.m; i += kRows) {
      const std::int64_t end = p.m - i < kRows ? p.m : i + kRows;
      std::int64_t j = 0;
      for (; j + kCols <= p.n; j += kCols) columns<kCols>(p, i, end, j);
      for (; j < p.n; ++j) columns<1>(p, i, end, j);
    }
  }
};

template <class Isa>
void gemm_f32(const GemmF32Args& p) {
  switch (p.b_type) {
    case WeightType::kF32:
      return GemmF32<Isa, WeightType::kF32>::run(p);
    case WeightType::kBf16:
      return GemmF32<Isa, WeightType::kBf16>::run(p);
    case WeightType::kF16:
      return GemmF32<Isa, WeightType::kF16>::run(p);
    case WeightType::kF8E4M3:
      return GemmF32<Isa, WeightType::kF8E4M3>::run(p);
  }
}

}  // namespace
}  // namespace latent8
