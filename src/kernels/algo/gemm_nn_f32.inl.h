#pragma once
// c = a * b with b read along its rows: the absorbed query, q_nope * w_uk. Lanes run over n; every output
// adds its products one after the other, k ascending.

#include <cstdint>

#include "kernels/algo/weights.inl.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

template <class Isa, WeightType kType>
struct GemmNnF32 {
  using F = typename Isa::F;
  using W = Weights<Isa, kType>;
  static constexpr int vectors(int m) {
    return Isa::kRegisters == 32 ? (m == 1   ? 16
                                    : m <= 3 ? 8
                                    : m <= 6 ? 4
                                             : 2)
                                 : (m == 1   ? 8
                                    : m <= 3 ? 4
                                             : 2);
  }

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

  template <int M>
  static void rows(const GemmNnF32Args& p, std::int64_t i) {
    constexpr std::int64_t kWide = vectors(M) * Isa::kLanes;
    std::int64_t j = 0;
    for (; j + kWide <= p.n; j += kWide) tile<M, vectors(M)>(p, i, j);
    for (; j + Isa::kLanes <= p.n; j += Isa::kLanes) tile<M, 1>(p, i, j);
    if (j < p.n) last_columns<M>(p, i, j);
  }

  static void run(const GemmNnF32Args& p) {
    std::int64_t i = 0;
    if constexpr (Isa::kRegisters == 32)
      for (; i + 12 <= p.m; i += 12) rows<12>(p, i);
    for (; i + 6 <= p.m; i += 6) rows<6>(p, i);
    for (; i + 3 <= p.m; i += 3) rows<3>(p, i);
    for (; i < p.m; ++i) rows<1>(p, i);
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
