#pragma once
// SiLU(gate) * up.

#include <cstdint>

#include "kernels/algo/exp.inl.h"
#include "kernels/elementwise_args.h"

namespace latent8 {
namespace {

template <class Isa>
void silu_mul(const SiluMulArgs& p) {
  const auto one = Isa::set1(1.0F);
  for (std::int64_t i = 0; i < p.m; ++i) {
    const float* gate = p.gate + i * p.gate_stride;
    const float* up = p.up + i * p.up_stride;
    float* out = p.out + i * p.out_stride;
    for (std::int64_t at = 0; at < p.n; at += Isa::kLanes) {
      const int lanes = p.n - at < Isa::kLanes ? static_cast<int>(p.n - at) : Isa::kLanes;
      const auto g = Isa::load_n(gate + at, lanes);
      const auto silu = Isa::div(g, Isa::add(one, exp_ps<Isa>(Isa::sub(Isa::zero(), g))));
      Isa::store_n(out + at, Isa::mul(silu, Isa::load_n(up + at, lanes)), lanes);
    }
  }
}

}  // namespace
}  // namespace latent8
