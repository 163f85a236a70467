#pragma once
// Float linear layer, c = a * b^T, with b in its stored type. Lanes run over k with one accumulator register
// per output, k ascending, then one reduce_add: the same additions whatever the shape of the register tile.

#include <cstdint>

#include "kernels/algo/weights.inl.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

template <class Isa, WeightType kType>
struct GemmF32 {
  using F = typename Isa::F;
  using W = Weights<Isa, kType>;
  // Rows of b per tile for M rows of a: as many accumulators as the registers hold beside the operands.
  static constexpr int cols(int m) {
    return Isa::kRegisters == 32 ? (m <= 3   ? 8
                                    : m == 4 ? 6
                                    : m <= 6 ? 4
                                    : m <= 8 ? 3
                                             : 2)
                                 : (m == 1   ? 8
                                    : m <= 3 ? 4
                                             : 2);
  }

  // Columns [begin, end) of k, within one fp8 block; `scale` is that of each row of b.
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
  static void tile(const GemmF32Args& p, std::int64_t i, std::int64_t j) {
    F acc[M][N];
    for (int t = 0; t < M; ++t)
      for (int c = 0; c < N; ++c) acc[t][c] = Isa::zero();
    const float* a = p.a + i * p.a_stride;
    for (std::int64_t at = 0; at < p.k;) {
      const std::int64_t end = W::block_end(at, p.k);
      accumulate<M, N>(p, a, j, at, end, acc);
      at = end;
    }
    for (int t = 0; t < M; ++t)
      for (int c = 0; c < N; ++c) p.c[(i + t) * p.c_stride + j + c] = Isa::reduce_add(acc[t][c]);
  }

  template <int M>
  static void rows(const GemmF32Args& p, std::int64_t i) {
    std::int64_t j = 0;
    for (; j + cols(M) <= p.n; j += cols(M)) tile<M, cols(M)>(p, i, j);
    for (; j < p.n; ++j) tile<M, 1>(p, i, j);
  }

  static void run(const GemmF32Args& p) {
    std::int64_t i = 0;
    if constexpr (Isa::kRegisters == 32)
      for (; i + 12 <= p.m; i += 12) rows<12>(p, i);
    for (; i + 6 <= p.m; i += 6) rows<6>(p, i);
    for (; i + 3 <= p.m; i += 3) rows<3>(p, i);
    for (; i < p.m; ++i) rows<1>(p, i);
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
