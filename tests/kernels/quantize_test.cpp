#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/ref/linear_ref.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

struct Quantized {
  std::vector<std::int8_t> q;
  std::vector<float> scale;
  std::vector<std::int32_t> sum;
};

Quantized make_output(std::int64_t m, std::int64_t k) {
  const auto rows = static_cast<std::size_t>(m);
  return {std::vector<std::int8_t>(rows * static_cast<std::size_t>(k), 99), std::vector<float>(rows),
          std::vector<std::int32_t>(rows)};
}

Quantized run_dynamic(const KernelTable& table, const std::vector<float>& x, std::int64_t m, std::int64_t k) {
  Quantized out = make_output(m, k);
  table.quantize_dynamic({x.data(), out.q.data(), out.scale.data(), out.sum.data(), m, k, k});
  return out;
}

Quantized run_static(const KernelTable& table, const std::vector<float>& x, float scale, float offset) {
  const auto k = static_cast<std::int64_t>(x.size());
  Quantized out = make_output(1, k);
  table.quantize_static({x.data(), out.q.data(), out.sum.data(), 1, k, k, scale, offset});
  return out;
}

using QuantizeTest = KernelTest;

TEST_P(QuantizeTest, DynamicMatchesTheReferenceExactly) {
  for (const std::int64_t k : {1, 7, 8, 9, 15, 16, 17, 33, 256, 1371}) {
    const std::vector<float> x = normal_floats(5 * (k + 2), static_cast<std::uint64_t>(k));
    Quantized got = make_output(5, k);
    const QuantizeDynamicArgs args{x.data(), got.q.data(), got.scale.data(), got.sum.data(), 5, k, k + 2};

    table().quantize_dynamic(args);

    const QuantizedRef want = quantize_dynamic_ref(args);
    EXPECT_EQ(got.q, want.q) << "k " << k;
    EXPECT_EQ(got.scale, want.scale) << "k " << k;
    EXPECT_EQ(got.sum, want.sum) << "k " << k;
  }
}

TEST_P(QuantizeTest, StaticMatchesTheReferenceExactly) {
  for (const std::int64_t k : {1, 7, 8, 9, 15, 16, 17, 33, 256, 1371})
    for (const float offset : {0.0F, -3.0F, 40.0F}) {
      const std::vector<float> x = normal_floats(3 * (k + 2), static_cast<std::uint64_t>(k));
      Quantized got = make_output(3, k);
      const QuantizeStaticArgs args{x.data(), got.q.data(), got.sum.data(), 3, k, k + 2, 0.0173F, offset};

      table().quantize_static(args);

      const QuantizedRef want = quantize_static_ref(args);
      EXPECT_EQ(got.q, want.q) << "k " << k << " offset " << offset;
      EXPECT_EQ(got.sum, want.sum) << "k " << k << " offset " << offset;
    }
}

TEST_P(QuantizeTest, RoundsTiesToEvenAndClampsToMinus128And127) {
  const Quantized got = run_static(
      table(), {0.5F, 1.5F, 2.5F, -0.5F, -1.5F, 126.5F, 127.5F, 1e30F, -128.5F, -1e30F, kInf, -kInf}, 1.0F,
      0.0F);

  EXPECT_EQ(got.q, (std::vector<std::int8_t>{0, 2, 2, 0, -2, 126, 127, 127, -128, -128, 127, -128}));
}

TEST_P(QuantizeTest, ARowOfZerosHasScaleZeroAndCodesZero) {
  const Quantized got = run_dynamic(table(), std::vector<float>(35, 0.0F), 1, 35);

  EXPECT_EQ(got.scale[0], 0.0F);
  EXPECT_EQ(got.sum[0], 0);
  EXPECT_EQ(got.q, std::vector<std::int8_t>(35, 0));
}

TEST_P(QuantizeTest, NaNBecomesZeroAndLeavesTheScaleOfTheRowAlone) {
  std::vector<float> x(37, 1.0F);
  x[3] = kNan;
  x[36] = kNan;

  const Quantized got = run_dynamic(table(), x, 1, 37);

  EXPECT_EQ(got.scale[0], 1.0F / 127.0F);
  EXPECT_EQ(got.q[3], 0);
  EXPECT_EQ(got.q[36], 0);
  EXPECT_EQ(got.q[4], 127);
  EXPECT_EQ(got.sum[0], 35 * 127);
}

TEST_P(QuantizeTest, AnInfiniteRowShowsItInItsScale) {
  std::vector<float> x(20, 1.0F);
  x[7] = -kInf;

  const Quantized got = run_dynamic(table(), x, 1, 20);

  EXPECT_EQ(got.scale[0], kInf);
  EXPECT_EQ(got.sum[0], 0);
}

INSTANTIATE_TEST_SUITE_P(Tables, QuantizeTest, every_table(), table_name);

}  // namespace
}  // namespace latent8
