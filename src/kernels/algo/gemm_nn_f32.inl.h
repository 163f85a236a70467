#pragma once
// c = a * b with b read along its rows: the absorbed query, q_nope * w_uk. Lanes run over n; every output
// adds its products one after the other, k ascending.

#include <cstdint>

#include "kernels/algo/weights.inl.h"
#include "kernels/algo/with_size.inl.h"
#include "kernels/gemm_args.h"

namespace latent8 {
namespace {

template <class Isa, WeightType kType>
struct GemmNnF32 {
  using F = typename Isa::F;
  using W = Weights<Isa, kType>;
  static constexpr int kTile = 6;                               // rows of a per tile
  static constexpr int kCols = Isa::kRegisters == 32 ? 4 : 2;   // registers of columns per tile
  static constexpr int kWide = Isa::kRegisters == 32 ? 16 : 8;  // the same for one row of a

  // M rows of a against N registers of columns from column j.
  template <int M, int N>
  static void tile(const GemmNnF32Args& p, std::int64_t i, std::int64_t j) {
    F acc[M][N];
    for (int t = 0; t < M; ++t)
      for (int v = 0; v < N; ++v) acc[t][v] = Isa::zero();
    for (std::int64_t at = 0; at < p.k; ++at) {
      F w[N];
      for (int v = 0; v < N; ++v) {
        const std::int64_t col = j + v * Isa::kLanes;
        w[v] = W::load(p.b, at * p.b_stride + col, W::scale(p, p.b_row0 + at, col));
      }
      for (int t = 0; t < M; ++t) {
        const F x = Isa::set1(p.a[(i + t) * p.a_stride + at]);
        for (int v = 0; v < N; ++v) acc[t][v] = Isa::fma(x, w[v], acc[t][v]);
      }
    }
    for (int t = 0; t < M; ++t)
      for (int v = 0; v < N; ++v) Isa::store(p.c + (i + t) * p.c_stride + j + v * Isa::kLanes, acc[t][v]);
  }

  template <int M>
  static void last_columns(const GemmNnF32Args& p, std::int64_t i, std::int64_t j) {
    const int cols = static_cast<int>(p.n - j);
    F acc[M];
    for (int t = 0; t < M; ++t) acc[t] = Isa::zero();
    for (std::int64_t at = 0; at < p.k; ++at) {
      const F w = W::load_n(p.b, at * p.b_stride + j, W::scale(p, p.b_row0 + at, j), cols);
      for (int t = 0; t < M; ++t) acc[t] = Isa::fma(Isa::set1(p.a[(i + t) * p.a_stride + at]), w, acc[t]);
    }
    for (int t = 0; t < M; ++t) Isa::store_n(p.c + (i + t) * p.c_stride + j, acc[t], cols);
  }

  // All rows of a meet N registers of columns before the next ones, which stay in L1 meanwhile. N 0: the
  // columns that do not fill a register.
  template <int N>
  static void columns(const GemmNnF32Args& p, std::int64_t j) {
    std::int64_t tiles = (p.m + kTile - 1) / kTile;
    for (std::int64_t i = 0; i < p.m; --tiles) {
      const std::int64_t size = (p.m - i + tiles - 1) / tiles;
      with_size<kTile>(static_cast<int>(size), [&](auto rows) {
        if constexpr (N == 0)
          last_columns<rows.value>(p, i, j);
        else
          tile<rows.value, N>(p, i, j);
      });
      i += size;
    }
  }

  static void run(const GemmNnF32Args& p) {
    std::int64_t j = 0;
    if (p.m == 1)
      for (; j + kWide * Isa::kLanes <= p.n; j += kWide * Isa::kLanes) tile<1, kWide>(p, 0, j);
    for (; j + kCols * Isa::kLanes <= p.n; j += kCols * Isa::kLanes) columns<kCols>(p, j);
    for (; j + Isa::kLanes <= p.n; j += Isa::kLanes) columns<1>(p, j);
    if (j < p.n) columns<0>(p, j);
  }
};

template <class Isa>
void gemm_nn_f32(const GemmNnF32Args& p) {
  switch (p.b_type) {
    case WeightType::kF32:
      return GemmNnF32<Isa, WeightType::kF32>::run(p);
    case WeightType::kBf16:
      return GemmNnF32<Isa, WeightType::kBf16>::run(p);
    case WeightType::kF16:
      return GemmNnF32<Isa, WeightType::kF16>::run(p);
    case WeightType::kF8E4M3:
      return GemmNnF32<Isa, WeightType::kF8E4M3>::run(p);
  }
}

}  // namespace
}  // namespace latent8
