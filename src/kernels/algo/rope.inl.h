#pragma once
// Rotary position embedding. A plain loop: the compiler vectorises it per ISA, and at 64 dimensions per head
// it is far from any profile.

#include <cstdint>

#include "kernels/elementwise_args.h"

namespace latent8 {
namespace {

// Pairs (step d, step d + partner) of one head.
template <std::int64_t step>
inline void rotate_pairs(float* x, std::int64_t partner, const float* cos, const float* sin,
                         std::int64_t half) {
  for (std::int64_t d = 0; d < half; ++d) {
    const float first = x[step * d], second = x[step * d + partner];
    x[step * d] = first * cos[d] - second * sin[d];
    x[step * d + partner] = first * sin[d] + second * cos[d];
  }
}

template <class Isa>
void rope(const RopeArgs& p) {
  const std::int64_t half = p.dim / 2;
  for (std::int64_t i = 0; i < p.m; ++i) {
    const float* cos = p.cos + p.positions[i] * half;
    const float* sin = p.sin + p.positions[i] * half;
    for (std::int64_t h = 0; h < p.heads; ++h) {
      float* x = p.x + i * p.x_stride + h * p.head_stride;
      if (p.halves)
        rotate_pairs<1>(x, half, cos, sin, half);
      else
        rotate_pairs<2>(x, 1, cos, sin, half);
    }
  }
}

}  // namespace
}  // namespace latent8
