#pragma once
// What quantising weights needs, in plain C++: units of four weights.

#include <cmath>
#include <cstdint>

#include "kernels/isa/scalar_convert.h"

namespace latent8 {
namespace {

struct ScalarWeights {
  static constexpr bool kFusedFma = false;    // Scalar::fma rounds twice
  static constexpr bool kByteTables = false;  // look_up()

  // Four fp8 numbers, NaN not among them, as 2^-8 of their values.
  static void load_fp8_256ths(const void* p, float (&x)[4]) {
    for (int i = 0; i < 4; ++i) x[i] = fp8_to_float(static_cast<const std::uint8_t*>(p)[i]) * 0x1p-8F;
  }
  // Bytewise the larger of a, whose sign bits are 0, and b without its sign bits.
  static std::int32_t max_magnitude(std::int32_t a, std::int32_t b) {
    std::uint32_t all = 0;
    for (int shift = 0; shift < 32; shift += 8) {
      const std::uint32_t x = static_cast<std::uint32_t>(a) >> shift & 0xffU;
      const std::uint32_t y = static_cast<std::uint32_t>(b) >> shift & 0x7fU;
      all |= (x > y ? x : y) << shift;
    }
    return static_cast<std::int32_t>(all);
  }
  // 2^-8 of the largest fp8 magnitude of the four bytes.
  static float fp8_maxima_256ths(std::int32_t x) {
    std::uint32_t largest = 0;
    for (int shift = 0; shift < 32; shift += 8) {
      const std::uint32_t code = static_cast<std::uint32_t>(x) >> shift & 0x7fU;
      largest = code > largest ? code : largest;
    }
    return fp16_to_float(static_cast<std::uint16_t>(largest << 7));
  }
  // Rounds to even and clamps to [-127, 127]; |x| < 2^31.
  static std::int32_t pack_codes(const float (&x)[4]) {
    std::uint32_t all = 0;
    for (int i = 0; i < 4; ++i) {
      const float code = ::fmaxf(-127.0F, ::fminf(127.0F, ::nearbyintf(x[i])));
      all |= (static_cast<std::uint32_t>(static_cast<std::int32_t>(code)) & 0xffU) << (8 * i);
    }
    return static_cast<std::int32_t>(all);
  }
};

}  // namespace
}  // namespace latent8
