// RMS norm, rotary embedding and SiLU against their references.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/ref/linear_ref.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

using RmsNormTest = KernelTest;
using RopeTest = KernelTest;
using SiluMulTest = KernelTest;

constexpr std::int64_t kSizes[] = {1, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 127, 256, 901};

std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }

TEST_P(RmsNormTest, MatchesTheReference) {
  for (const std::int64_t n : kSizes)
    for (const bool has_bias : {false, true}) {
      SCOPED_TRACE(testing::Message() << "n " << n << " bias " << has_bias);
      const std::vector<float> x = normal_floats(3 * (n + 1), 1), weight = normal_floats(n, 2),
                               bias = normal_floats(n, 3);
      std::vector<float> out(count(3 * n));
      const RmsNormArgs args{x.data(), out.data(), weight.data(), has_bias ? bias.data() : nullptr, 3, n,
                             n + 1,    n,          1e-6F};

      table().rms_norm(args);

      // n + 1 roundings of the sum are halved by the root; mean, root, reciprocal and three products follow.
      const std::vector<double> want = rms_norm_ref(args);
      expect_close(out, want, [&](std::size_t i) {
        const double shift = has_bias ? bias[i % count(n)] : 0.0;
        const double relative = (static_cast<double>(n) / 2.0 + 8.0) * kUnit;
        return relative * std::fabs(want[i] - shift) + 2.0 * kUnit * std::fabs(want[i]) + 1e-30;
      });
    }
}

TEST_P(RmsNormTest, MayWriteOverItsInput) {
  const std::vector<float> x = normal_floats(2 * 77, 1), weight = normal_floats(77, 2);
  std::vector<float> apart(154), in_place = x;

  table().rms_norm({x.data(), apart.data(), weight.data(), nullptr, 2, 77, 77, 77, 1e-6F});
  table().rms_norm({in_place.data(), in_place.data(), weight.data(), nullptr, 2, 77, 77, 77, 1e-6F});

  EXPECT_EQ(apart, in_place);
}

TEST_P(RopeTest, RotatesPairsByTheAngleOfTheirPosition) {
  for (const auto& [dim, halves] : {std::pair<std::int64_t, bool>{2, false},
                                    {6, false},
                                    {32, false},
                                    {64, false},
                                    {6, true},
                                    {32, true},
                                    {64, true}}) {
    SCOPED_TRACE(testing::Message() << dim << (halves ? " in halves" : " interleaved"));
    const std::int64_t heads = 3, head_stride = dim + 5, x_stride = heads * head_stride + 1;
    const std::vector<std::int32_t> positions = {0, 6, 2, 6};
    std::vector<float> x = normal_floats(4 * x_stride, 1), cos, sin;
    for (std::int64_t i = 0; i < 7 * dim / 2; ++i) {
      cos.push_back(std::cos(static_cast<float>(i)));
      sin.push_back(std::sin(static_cast<float>(i)));
    }
    const std::vector<float> before = x;
    const RopeArgs args{x.data(), positions.data(), cos.data(),  sin.data(), 4, heads,
                        dim,      x_stride,         head_stride, halves};
    const std::vector<double> want = rope_ref(args);

    table().rope(args);

    std::vector<float> got;
    for (std::int64_t i = 0; i < 4; ++i)
      for (std::int64_t h = 0; h < heads; ++h) {
        const float* head = x.data() + i * x_stride + h * head_stride;
        got.insert(got.end(), head, head + dim);
        EXPECT_EQ(head[dim], before[count(i * x_stride + h * head_stride + dim)]);
      }
    // Two products and an addition, operands below 8 and 1.
    expect_close(got, want, [](std::size_t) { return 3.0 * 16.0 * kUnit; });
  }
}

TEST_P(SiluMulTest, MatchesTheReference) {
  for (const std::int64_t n : kSizes) {
    SCOPED_TRACE(n);
    std::vector<float> gate = normal_floats(2 * (n + 1), 1);
    for (float& g : gate) g *= 12.0F;
    const std::vector<float> up = normal_floats(2 * (n + 2), 2);
    std::vector<float> out(count(2 * n));
    const SiluMulArgs args{gate.data(), up.data(), out.data(), 2, n, n + 1, n + 2, n};

    table().silu_mul(args);

    const std::vector<double> want = silu_mul_ref(args);
    expect_close(out, want, [&](std::size_t i) { return 10.0 * kUnit * std::fabs(want[i]) + 1e-30; });
  }
}

TEST_P(SiluMulTest, StaysFiniteForGatesFarFromZeroAndPassesNaNOn) {
  const std::vector<float> gate = {-1e30F, -1000.0F, -100.0F, 1000.0F, 0.0F, std::nanf("")};
  const std::vector<float> up(gate.size(), 1.0F);
  std::vector<float> out(gate.size());

  table().silu_mul({gate.data(), up.data(), out.data(), 1, 6, 6, 6, 6});

  EXPECT_NEAR(out[1], 0.0F, 1e-30F);
  EXPECT_NEAR(out[2], 0.0F, 1e-30F);
  EXPECT_EQ(out[3], 1000.0F);
  EXPECT_EQ(out[4], 0.0F);
  EXPECT_TRUE(std::isfinite(out[0]));
  EXPECT_TRUE(std::isnan(out[5]));
}

// exp is reached through SiLU with a gate whose numerator is known: silu(-x) = -x / (1 + exp(x)).
TEST_P(SiluMulTest, HasAnExpWithinTwoUnitsInTheLastPlace) {
  std::vector<float> gate;
  for (float x = 20.0F; x < 87.0F; x += 0.0101F) gate.push_back(-x);
  const auto n = static_cast<std::int64_t>(gate.size());
  const std::vector<float> up(gate.size(), 1.0F);
  std::vector<float> out(gate.size());
  const SiluMulArgs args{gate.data(), up.data(), out.data(), 1, n, n, n, n};

  table().silu_mul(args);

  // 2 ulp of exp are 4 units; adding one, dividing and multiplying by one add three.
  const std::vector<double> want = silu_mul_ref(args);
  expect_close(out, want, [&](std::size_t i) { return 7.0 * kUnit * std::fabs(want[i]); });
}

INSTANTIATE_TEST_SUITE_P(Tables, RmsNormTest, every_table(), table_name);
INSTANTIATE_TEST_SUITE_P(Tables, RopeTest, every_table(), table_name);
INSTANTIATE_TEST_SUITE_P(Tables, SiluMulTest, every_table(), table_name);

}  // namespace
}  // namespace latent8
