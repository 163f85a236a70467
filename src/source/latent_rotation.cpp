#include "source/latent_rotation.h"

#include <cmath>

#include "base/check.h"
#include "base/rng.h"

namespace latent8 {
namespace {

constexpr std::uint64_t kSignSeed = 42;

}  // namespace

LatentRotation::LatentRotation(std::size_t rank) : signs_(rank) {
  Rng rng(kSignSeed);
  for (float& sign : signs_) sign = rng.uniform() < 0.5F ? -1.0F : 1.0F;
}

void LatentRotation::turn(std::span<float> x) const {
  LATENT8_CHECK_EQ(x.size(), signs_.size());
  const std::size_t n = x.size(), block = n & (~n + 1);  // the largest power of two that divides n
  for (std::size_t i = 0; i < n; ++i) x[i] *= signs_[i];
  for (std::size_t half = 1; half < block; half *= 2)
    for (std::size_t i = 0; i < n; i += 2 * half)
      for (std::size_t j = i; j < i + half; ++j) {
        const float a = x[j], b = x[j + half];
        x[j] = a + b;
        x[j + half] = a - b;
      }
  const float norm = 1.0F / std::sqrt(static_cast<float>(block));
  for (float& value : x) value *= norm;
}

}  // namespace latent8
