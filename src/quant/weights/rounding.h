#pragma once
// Rounding to the type of a model's stored values. r(x) of docs/format.md is round_to(): the
// reference computes in bf16 or fp16, so that every step rounds; here such values are float32 that the type
// can hold.

#include <span>

#include "base/dtype.h"

namespace latent8 {

// x rounded to `type` (kF32, kBf16, kF16), ties to even, and widened again.
float round_to(DType type, float x);
void round_in_place(DType type, std::span<float> values);

// The smallest scale that is written; a row of zeros has it. Source: docs/format.md, "Quantised linears".
inline constexpr float kSmallestScale = 0x1p-23F;

inline constexpr float kMaxCode = 127.0F;  // of symmetric int8

// max(round_to(type, amax / kMaxCode), kSmallestScale): the scale of symmetric int8.
float symmetric_scale(DType type, float amax);

}  // namespace latent8
