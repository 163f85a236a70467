#pragma once
// Root mean square norm. The sum of squares has four accumulators; its order depends on n only.

#include <cmath>
#include <cstdint>

#include "kernels/elementwise_args.h"

namespace latent8 {
namespace {

template <class Isa>
inline float sum_of_squares(const float* x, std::int64_t n) {
  typename Isa::F sum[4] = {Isa::zero(), Isa::zero(), Isa::zero(), Isa::zero()};
  std::int64_t at = 0;
  for (; at + 4 * Isa::kLanes <= n; at += 4 * Isa::kLanes)
    for (int v = 0; v < 4; ++v) {
      const auto a = Isa::load(x + at + v * Isa::kLanes);
      sum[v] = Isa::fma(a, a, sum[v]);
    }
  for (; at < n; at += Isa::kLanes) {
    const auto a = Isa::load_n(x + at, n - at < Isa::kLanes ? static_cast<int>(n - at) : Isa::kLanes);
    sum[0] = Isa::fma(a, a, sum[0]);
  }
  return Isa::reduce_add(Isa::add(Isa::add(sum[0], sum[1]), Isa::add(sum[2], sum[3])));
}

template <class Isa>
void rms_norm(const RmsNormArgs& p) {
  for (std::int64_t i = 0; i < p.m; ++i) {
    const float* x = p.x + i * p.x_stride;
    float* out = p.out + i * p.out_stride;
    const float mean = sum_of_squares<Isa>(x, p.n) / static_cast<float>(p.n);
    const auto inverse = Isa::set1(1.0F / ::sqrtf(mean + p.eps));
    for (std::int64_t at = 0; at < p.n; at += Isa::kLanes) {
      const int lanes = p.n - at < Isa::kLanes ? static_cast<int>(p.n - at) : Isa::kLanes;
      const auto scaled = Isa::mul(Isa::load_n(x + at, lanes), inverse);
      auto y = Isa::mul(scaled, Isa::load_n(p.weight + at, lanes));
      if (p.bias != nullptr) y = Isa::add(y, Isa::load_n(p.bias + at, lanes));
      Isa::store_n(out + at, y, lanes);
    }
  }
}

}  // namespace
}  // namespace latent8
