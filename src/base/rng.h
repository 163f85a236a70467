#pragma once
// A small deterministic generator (SplitMix64): the same seed gives the same numbers on every machine.
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.

#include <cmath>
#include <cstdint>
#include <numbers>

namespace latent8 {

class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next_u64() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }  // [0, 1)
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(next_u64() % static_cast<std::uint64_t>(n));
  }
  float normal() {  // Box-Muller
    const double u = 1.0 - uniform(), v = uniform();
    return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v));
  }

 private:
  std::uint64_t state_;
};

}  // namespace latent8
