#include "base/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace latent8 {
namespace {

TEST(DType, EveryFp16ValueSurvivesTheWayThroughFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Fp16 x{static_cast<std::uint16_t>(bits)};
    if (std::isnan(to_float(x))) continue;
    EXPECT_EQ(to_fp16(to_float(x)).bits, x.bits);
  }
}

TEST(DType, EveryBf16ValueSurvivesTheWayThroughFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Bf16 x{static_cast<std::uint16_t>(bits)};
    if (std::isnan(to_float(x))) continue;
    EXPECT_EQ(to_bf16(to_float(x)).bits, x.bits);
  }
}

TEST(DType, EveryFp8ValueSurvivesTheWayThroughFloat) {
  for (std::uint32_t bits = 0; bits < 0x100; ++bits) {
    const Fp8E4M3 x{static_cast<std::uint8_t>(bits)};
    if (std::isnan(to_float(x))) continue;
    EXPECT_EQ(to_fp8_e4m3(to_float(x)).bits, x.bits);
  }
}

// The rounding is to nearest, ties to even: halfway between neighbours a and b goes to the one with an even
// last bit.
TEST(DType, Fp16RoundsHalfwayValuesToEven) {
  for (std::uint32_t bits = 0; bits + 1 < 0x7c00; ++bits) {
    const float a = to_float(Fp16{static_cast<std::uint16_t>(bits)});
    const float b = to_float(Fp16{static_cast<std::uint16_t>(bits + 1)});
    const float middle = (a + b) / 2;
    EXPECT_EQ(to_fp16(middle).bits, (bits & 1U) != 0 ? bits + 1 : bits);
    EXPECT_EQ(to_fp16(std::nextafter(middle, 0.0F)).bits, bits);
    EXPECT_EQ(to_fp16(std::nextafter(middle, 1e9F)).bits, bits + 1);
  }
}

TEST(DType, Fp8RoundsHalfwayValuesToEven) {
  for (std::uint32_t bits = 0; bits + 1 < 0x7f; ++bits) {
    const float a = to_float(Fp8E4M3{static_cast<std::uint8_t>(bits)});
    const float b = to_float(Fp8E4M3{static_cast<std::uint8_t>(bits + 1)});
    EXPECT_EQ(to_fp8_e4m3((a + b) / 2).bits, (bits & 1U) != 0 ? bits + 1 : bits);
  }
}

TEST(DType, OverflowBecomesInfinityInFp16AndNanInFp8) {
  EXPECT_TRUE(std::isinf(to_float(to_fp16(65520.0F))));
  EXPECT_EQ(to_float(to_fp16(65519.0F)), 65504.0F);
  EXPECT_TRUE(std::isnan(to_float(to_fp8_e4m3(465.0F))));
}

TEST(DType, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(to_float(to_bf16(nan))));
  EXPECT_TRUE(std::isnan(to_float(to_fp16(nan))));
  EXPECT_TRUE(std::isnan(to_float(to_fp8_e4m3(nan))));
}

}  // namespace
}  // namespace latent8
