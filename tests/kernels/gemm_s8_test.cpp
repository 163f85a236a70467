#include <gtest/gtest.h>

#include <algorithm>

#include "base/aligned_buffer.h"
#include "kernels/ref/linear_ref.h"
#include "support/codes.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

// CodeOperands of one call, weights one byte off alignment.
struct CodeOperands {
  CodeOperands(std::int64_t m, std::int64_t n, std::int64_t k, std::uint64_t seed = 1)
      : m(m),
        n(n),
        k(k),
        a(random_codes(m * k, seed)),
        b(random_codes(n * k + 1, seed + 1)),
        a_scale(normal_floats(m, seed + 2)),
        b_scale(normal_floats(n, seed + 3)),
        bias(static_cast<std::size_t>(n)),
        c(static_cast<std::size_t>(m * (n + 3))) {
    Rng rng(seed + 4);
    for (auto& x : bias) x = static_cast<std::int32_t>(rng.below(2'000'001) - 1'000'000);
  }
  std::vector<float> run(const KernelTable& table, std::int64_t row_begin = 0) {
    std::fill(c.begin(), c.end(), -7.0F);
    OwnedCodes packed = pack_codes(table, a.data(), m, k);
    if (with_scales)
      std::copy(a_scale.begin(), a_scale.end(), packed.codes.scale);
    else
      packed.codes.scale = nullptr;
    const std::int64_t rows = m - row_begin;
    AlignedBuffer<char> scratch(table.gemm_s8_scratch_bytes(rows, n, k));
    table.gemm_s8({packed.codes, row_begin, rows, b.data() + 1, n, c.data(), n + 3, b_scale.data(),
                   with_bias ? bias.data() : nullptr, scratch.data()});
    std::vector<float> out;
    for (std::int64_t i = 0; i < rows; ++i)
      out.insert(out.end(), c.begin() + i * (n + 3), c.begin() + i * (n + 3) + n);
    return out;
  }
  std::vector<float> reference() const {
    return gemm_s8_ref({a.data(), b.data() + 1, m, n, k, with_scales ? a_scale.data() : nullptr,
                        b_scale.data(), with_bias ? bias.data() : nullptr});
  }

  std::int64_t m, n, k;
  std::vector<std::int8_t> a, b;
  std::vector<float> a_scale, b_scale;
  std::vector<std::int32_t> bias;
  std::vector<float> c;
  bool with_scales = true, with_bias = true;
};

using GemmS8Test = KernelTest;

TEST_P(GemmS8Test, MatchesTheReferenceForEveryNumberOfRows) {
  for (std::int64_t m = 1; m <= 40; ++m) {
    CodeOperands x(m, 37, 75, static_cast<std::uint64_t>(m));
    EXPECT_EQ(x.run(table()), x.reference()) << "m " << m;
  }
}

TEST_P(GemmS8Test, MatchesTheReferenceAroundTheWidthOfARegister) {
  for (const std::int64_t m : {1, 2, 3, 5, 13})
    for (const std::int64_t n : {1, 3, 4, 5, 15, 16, 17, 33})
      for (const std::int64_t k : {1, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129}) {
        CodeOperands x(m, n, k);
        EXPECT_EQ(x.run(table()), x.reference()) << "m " << m << " n " << n << " k " << k;
      }
}

TEST_P(GemmS8Test, MatchesTheReferenceWhenKIsLongerThanAPanel) {
  for (const std::int64_t m : {1, 7, 20})
    for (const std::int64_t k : {2047, 2049, 4096 + 65}) {
      CodeOperands x(m, 19, k);
      EXPECT_EQ(x.run(table()), x.reference()) << "m " << m << " k " << k;
    }
}

TEST_P(GemmS8Test, MatchesTheReferenceOnDeepSeekShapesDividedByEight) {
  struct Shape {
    std::int64_t n, k;
  };
  for (const std::int64_t m : {1, 4, 65})
    for (const Shape s : {Shape{176, 256}, {256, 176}, {1368, 256}, {72, 256}, {896, 192}}) {
      CodeOperands x(m, s.n, s.k);
      EXPECT_EQ(x.run(table()), x.reference()) << "m " << m << " n " << s.n << " k " << s.k;
    }
}

TEST_P(GemmS8Test, MatchesTheReferenceWhenRowsNeedTwoPasses) {
  CodeOperands x(517, 5, 65);

  EXPECT_EQ(x.run(table()), x.reference());
}

TEST_P(GemmS8Test, LeavesTheColumnsBetweenRowsAlone) {
  for (const std::int64_t m : {2, 21}) {
    CodeOperands x(m, 21, 64);
    x.run(table());
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 21; j < 24; ++j) EXPECT_EQ(x.c[static_cast<std::size_t>(i * 24 + j)], -7.0F);
  }
}

TEST_P(GemmS8Test, TakesMissingScalesAsOneAndMissingBiasAsZero) {
  for (const std::int64_t m : {1, 20}) {
    CodeOperands x(m, 18, 70);
    x.with_scales = x.with_bias = false;
    EXPECT_EQ(x.run(table()), x.reference()) << "m " << m;
  }
}

TEST_P(GemmS8Test, IsExactWhenEveryProductIsExtremeAtTheLargestK) {
  for (const std::int64_t m : {1, 3, 9})
    for (const int a : {-128, 127})
      for (const int b : {-128, 127}) {
        CodeOperands x(m, 17, 65'536);
        std::fill(x.a.begin(), x.a.end(), static_cast<std::int8_t>(a));
        std::fill(x.b.begin(), x.b.end(), static_cast<std::int8_t>(b));
        std::fill(x.a_scale.begin(), x.a_scale.end(), 1.0F);
        std::fill(x.b_scale.begin(), x.b_scale.end(), 1.0F);
        std::fill(x.bias.begin(), x.bias.end(), 0);
        const std::vector<float> got = x.run(table());
        EXPECT_TRUE(std::all_of(got.begin(), got.end(),
                                [&](float y) { return y == static_cast<float>(65'536 * a * b); }))
            << "m " << m << " a " << a << " b " << b << " got " << got[0];
      }
}

TEST_P(GemmS8Test, IsExactWithTheLargestBias) {
  for (const std::int64_t m : {1, 20}) {
    CodeOperands x(m, 17, 4096);
    std::fill(x.a.begin(), x.a.end(), std::int8_t{-128});
    std::fill(x.b.begin(), x.b.end(), std::int8_t{-128});
    std::fill(x.bias.begin(), x.bias.end(), static_cast<std::int32_t>(max_bias_magnitude(4096)));
    EXPECT_EQ(x.run(table()), x.reference()) << "m " << m;
  }
}

TEST_P(GemmS8Test, StartsAtARowOfTheCodes) {
  const std::int64_t begin = table().code_rows, n = 18;
  for (const std::int64_t m : {1, 30}) {
    CodeOperands x(begin + m, n, 70);
    const std::vector<float> all = x.reference();
    EXPECT_EQ(x.run(table(), begin), std::vector<float>(all.begin() + begin * n, all.end())) << "m " << m;
  }
}

TEST_P(GemmS8Test, GivesZeroAndBiasWhenKIsZero) {
  for (const std::int64_t m : {1, 20}) {
    CodeOperands x(m, 18, 0);
    EXPECT_EQ(x.run(table()), x.reference());
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, GemmS8Test, every_table(), table_name);

}  // namespace
}  // namespace latent8
