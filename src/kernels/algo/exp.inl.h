#pragma once
// exp of a vector, for softmax and SiLU.

namespace latent8 {
namespace {

// x = n ln2 + r with |r| <= ln2 / 2; exp(r) = 1 + r + r^2 P(r), P of degree 4 fitted by Remez exchange for
// the smallest relative error of exp (3.1e-9). ln2 is split so that n * kLn2High is exact without an fma.
inline constexpr float kExpLowest = -87.0F, kExpHighest = 88.0F, kLog2E = 0x1.715476p+0F;

// exp(x) for x = n ln2 + r.
template <class Isa>
inline typename Isa::F exp_reduced(typename Isa::F x, typename Isa::F n) {
  constexpr float kLn2High = 0x1.62e4p-1F, kLn2Low = 0x1.7f7d1cp-20F;
  const auto high = Isa::fma(n, Isa::set1(-kLn2High), x);
  const auto r = Isa::fma(n, Isa::set1(-kLn2Low), high);
  auto p = Isa::set1(0x1.6a2448p-10F);
  p = Isa::fma(p, r, Isa::set1(0x1.1239d6p-7F));
  p = Isa::fma(p, r, Isa::set1(0x1.5558f2p-5F));
  p = Isa::fma(p, r, Isa::set1(0x1.555492p-3F));
  p = Isa::fma(p, r, Isa::set1(0x1.fffffcp-2F));
  p = Isa::fma(p, Isa::mul(r, r), r);
  return Isa::times_pow2(Isa::add(p, Isa::set1(1.0F)), n);
}

// exp(x) within 2 ulp for x in [-87, 88]; 0 below -87, exp(88) above 88, NaN stays NaN.
template <class Isa>
inline typename Isa::F exp_ps(typename Isa::F x) {
  const auto clamped = Isa::max(Isa::set1(kExpLowest), Isa::min(Isa::set1(kExpHighest), x));
  const auto n = Isa::round(Isa::mul(clamped, Isa::set1(kLog2E)));
  return Isa::zero_if_below(x, Isa::set1(kExpLowest), exp_reduced<Isa>(clamped, n));
}

// The same for x <= 0 with fewer instructions: nothing is clamped, and adding 1.5 * 2^23 rounds.
template <class Isa>
inline typename Isa::F exp_not_positive(typename Isa::F x) {
  const auto integers = Isa::set1(0x1.8p23F);
  const auto n = Isa::sub(Isa::fma(x, Isa::set1(kLog2E), integers), integers);
  return Isa::zero_if_below(x, Isa::set1(kExpLowest), exp_reduced<Isa>(x, n));
}

}  // namespace
}  // namespace latent8
