#pragma once
// Stored floats to float32, bit by bit, for scalar code inside the ISA translation units (base/dtype.h is not
// compiled there: an inline function shared with other units could be kept in its AVX-512 form).

#include <cstdint>
#include <cstring>

namespace latent8 {
namespace {

inline float bits_to_float(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline float bf16_to_float(std::uint16_t bits) {
  return bits_to_float(static_cast<std::uint32_t>(bits) << 16);
}

inline float fp16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16, exponent = bits >> 10 & 31U, mantissa = bits & 0x3ffU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return bits_to_float(sign | (exponent == 31 ? 255U : exponent + 112) << 23 | mantissa << 13);
}

// e4m3 shares sign and exponent order with fp16: moved there it is 2^-8 of its value, subnormals included.
inline float fp8_to_float(std::uint8_t bits) {
  if ((bits & 0x7fU) == 0x7fU) return bits_to_float(0x7fc00000U);
  const auto half = static_cast<std::uint16_t>((bits & 0x80U) << 8 | (bits & 0x7fU) << 7);
  return fp16_to_float(half) * 256.0F;
}

}  // namespace
}  // namespace latent8
