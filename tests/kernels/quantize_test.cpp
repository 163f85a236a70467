#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/ref/linear_ref.h"
#include "support/codes.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

struct Quantized {
  std::vector<std::int8_t> q;
  std::vector<float> scale;
};

Quantized result(const KernelTable& table, const OwnedCodes& out) {
  return {unpack_codes(table, out.codes), {out.scale.span().begin(), out.scale.span().end()}};
}

Quantized run_dynamic(const KernelTable& table, const std::vector<float>& x, std::int64_t m, std::int64_t k,
                      std::int64_t x_stride) {
  OwnedCodes out(table, m, k);
  table.quantize_dynamic({x.data(), out.codes, 0, m, x_stride});
  return result(table, out);
}

Quantized run_static(const KernelTable& table, const std::vector<float>& x, std::int64_t m, std::int64_t k,
                     std::int64_t x_stride, float scale, float offset) {
  OwnedCodes out(table, m, k);
  out.codes.scale = nullptr;
  table.quantize_static({x.data(), out.codes, 0, m, x_stride, scale, offset});
  return result(table, out);
}

using QuantizeTest = KernelTest;

TEST_P(QuantizeTest, DynamicMatchesTheReferenceExactly) {
  for (const std::int64_t k : {1, 7, 8, 9, 15, 16, 17, 33, 256, 1371}) {
    const std::vector<float> x = normal_floats(5 * (k + 2), static_cast<std::uint64_t>(k));

    const Quantized got = run_dynamic(table(), x, 5, k, k + 2);

    const QuantizedRef want = quantize_dynamic_ref(x.data(), 5, k, k + 2);
    EXPECT_EQ(got.q, want.q) << "k " << k;
    EXPECT_EQ(got.scale, want.scale) << "k " << k;
  }
}

TEST_P(QuantizeTest, StaticMatchesTheReferenceExactly) {
  for (const std::int64_t k : {1, 7, 8, 9, 15, 16, 17, 33, 256, 1371})
    for (const float offset : {0.0F, -3.0F, 40.0F}) {
      const std::vector<float> x = normal_floats(3 * (k + 2), static_cast<std::uint64_t>(k));

      const Quantized got = run_static(table(), x, 3, k, k + 2, 0.0173F, offset);

      EXPECT_EQ(got.q, quantize_static_ref(x.data(), 3, k, k + 2, 0.0173F, offset).q)
          << "k " << k << " offset " << offset;
    }
}

TEST_P(QuantizeTest, PlainRowsAreThoseOfTheDynamicReference) {
  for (const std::int64_t k : {1, 9, 16, 33, 512}) {
    const std::vector<float> x = normal_floats(4 * (k + 3), static_cast<std::uint64_t>(k));
    const QuantizedRef want = quantize_dynamic_ref(x.data(), 4, k, k + 3);
    Quantized got{std::vector<std::int8_t>(want.q.size()), std::vector<float>(4)};

    table().quantize_row_major({x.data(), got.q.data(), got.scale.data(), 4, k, k + 3});

    EXPECT_EQ(got.q, want.q) << "k " << k;
    EXPECT_EQ(got.scale, want.scale) << "k " << k;
  }
}

TEST_P(QuantizeTest, RowsMayBeWrittenOneByOneInAnyOrder) {
  const std::int64_t m = 37, k = 70;
  const std::vector<float> x = normal_floats(m * k, 1);
  const Quantized together = run_dynamic(table(), x, m, k, k);
  OwnedCodes out(table(), m, k);

  for (std::int64_t row = m - 1; row >= 0; --row)
    table().quantize_dynamic({x.data() + row * k, out.codes, row, 1, k});

  const Quantized alone = result(table(), out);
  EXPECT_EQ(alone.q, together.q);
  EXPECT_EQ(alone.scale, together.scale);
}

TEST_P(QuantizeTest, RoundsTiesToEvenAndClampsToMinus128And127) {
  const std::vector<float> x{0.5F,   1.5F,  2.5F,    -0.5F,  -1.5F, 126.5F,
                             127.5F, 1e30F, -128.5F, -1e30F, kInf,  -kInf};

  const Quantized got = run_static(table(), x, 1, 12, 12, 1.0F, 0.0F);

  EXPECT_EQ(got.q, (std::vector<std::int8_t>{0, 2, 2, 0, -2, 126, 127, 127, -128, -128, 127, -128}));
}

TEST_P(QuantizeTest, ARowOfZerosHasScaleZeroAndCodesZero) {
  const Quantized got = run_dynamic(table(), std::vector<float>(35, 0.0F), 1, 35, 35);

  EXPECT_EQ(got.scale[0], 0.0F);
  EXPECT_EQ(got.q, std::vector<std::int8_t>(35, 0));
}

TEST_P(QuantizeTest, NaNBecomesZeroAndLeavesTheScaleOfTheRowAlone) {
  std::vector<float> x(37, 1.0F);
  x[3] = kNan;
  x[36] = kNan;

  const Quantized got = run_dynamic(table(), x, 1, 37, 37);

  EXPECT_EQ(got.scale[0], 1.0F / 127.0F);
  EXPECT_EQ(got.q[3], 0);
  EXPECT_EQ(got.q[36], 0);
  EXPECT_EQ(got.q[4], 127);
}

TEST_P(QuantizeTest, AnInfiniteRowShowsItInItsScale) {
  std::vector<float> x(20, 1.0F);
  x[7] = -kInf;

  const Quantized got = run_dynamic(table(), x, 1, 20, 20);

  EXPECT_EQ(got.scale[0], kInf);
  EXPECT_EQ(got.q, std::vector<std::int8_t>(20, 0));
}

INSTANTIATE_TEST_SUITE_P(Tables, QuantizeTest, every_table(), table_name);

}  // namespace
}  // namespace latent8
