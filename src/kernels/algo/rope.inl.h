#pragma once
// Rotary position embedding, interleaved pairs. A plain loop: the compiler vectorises it per ISA, and at 64
// dimensions per head it is far from any profile.

#include <cstdint>

#include "kernels/elementwise_args.h"

namespace latent8 {
namespace {

template <class Isa>
void rope(const RopeArgs& p) {
  const std::int64_t half = p.dim / 2;
  for (std::int64_t i = 0; i < p.m; ++i) {
    const float* cos = p.cos + p.positions[i] * half;
    const float* sin = p.sin + p.positions[i] * half;
    for (std::int64_t h = 0; h < p.heads; ++h) {
      float* x = p.x + i * p.x_stride + h * p.head_stride;
      for (std::int64_t d = 0; d < half; ++d) {
        const float even = x[2 * d], odd = x[2 * d + 1];
        x[2 * d] = even * cos[d] - odd * sin[d];
        x[2 * d + 1] = even * sin[d] + odd * cos[d];
      }
    }
  }
}

}  // namespace
}  // namespace latent8
