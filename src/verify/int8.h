#pragma once
// Names and bounds of int8 linears that the parts of verify share.

#include <cstdint>
#include <cstring>

#include "formats/safetensors.h"

namespace latent8 {

inline constexpr const char* kInt8Suffixes[] = {".weight_scale", ".weight_offset", ".input_scale",
                                                ".input_offset", ".quant_bias",    ".deq_scale"};

// The smallest scale written is 2^-23 (docs/format.md, "Quantised linears"); the largest allows weights of a
// million.
inline constexpr float kLeastScale = 0x1p-24F, kLargestScale = 1e4F;

// The int8 codes of a matrix, row-major.
inline const std::int8_t* codes_of(const TensorView& view) {
  return reinterpret_cast<const std::int8_t*>(view.bytes.data());
}

}  // namespace latent8
