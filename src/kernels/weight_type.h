#pragma once
// The element types in which a checkpoint stores float weights.

#include <cstdint>

#include "base/dtype.h"

namespace latent8 {

enum class WeightType : std::uint8_t { kF32, kBf16, kF16, kF8E4M3 };

constexpr DType dtype_of(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return DType::kF32;
    case WeightType::kBf16:
      return DType::kBf16;
    case WeightType::kF16:
      return DType::kF16;
    case WeightType::kF8E4M3:
      return DType::kF8E4M3;
  }
  return DType::kF32;
}

}  // namespace latent8
