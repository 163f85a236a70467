#pragma once
// Values that no model can have: they are refused where they are read, because int8 rounding and norms
// swallow them, and the answer is wrong without a word.

#include <cstdint>
#include <span>
#include <string>

namespace latent8 {

// The largest magnitude of a norm's weight, a bias, a scale. Checkpoints of the family stay below 1e3; what
// is beyond fp16 and a margin is a broken file.
inline constexpr float kLargestPlausible = 1e6F;

// Throws: Error{kCorrupt} naming the tensor, an element and the range for a value outside of [low, high] or
// NaN.
void check_range(const std::string& name, std::span<const float> values, float low = -kLargestPlausible,
                 float high = kLargestPlausible);

// int8 weights [rows, cols] times int8 inputs plus quant_bias [rows] must fit into int32 for every input.
// Throws: Error{kCorrupt} naming the tensor and a row where it may not.
void check_quant_bias(const std::string& name, std::span<const std::int32_t> bias,
                      std::span<const std::byte> weight);

}  // namespace latent8
