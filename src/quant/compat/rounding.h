#pragma once
// Rounding as the reference does it. It computes in the model's type, bf16 or fp16, so that every step
// rounds; here such values are float32 that the type can hold. r(x) in facts/msmodelslim_bytes.md is
// rounded().

#include <span>

#include "base/dtype.h"

namespace latent8::compat {

// x rounded to `type` (kBf16, kF16), ties to even, and widened again.
float rounded(DType type, float x);
void round_in_place(DType type, std::span<float> values);

// The smallest scale; a row of zeros has it. Source: facts/msmodelslim_bytes.md A1, A2, A5.
inline constexpr float kSmallestScale = 0x1p-23F;

// max(r(amax / 127), kSmallestScale): the scale of symmetric int8. amax: of the type
float symmetric_scale(DType type, float amax);

}  // namespace latent8::compat
