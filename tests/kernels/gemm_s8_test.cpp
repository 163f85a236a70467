#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/aligned_buffer.h"
#include "kernels/ref/linear_ref.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

// Operands of one call, every pointer one byte or one element off alignment.
struct Operands {
  Operands(std::int64_t m, std::int64_t n, std::int64_t k, std::uint64_t seed = 1)
      : a(random_codes(m * k + 1, seed)),
        b(random_codes(n * k + 1, seed + 1)),
        a_sum(static_cast<std::size_t>(m)),
        a_scale(normal_floats(m, seed + 2)),
        b_scale(normal_floats(n, seed + 3)),
        bias(static_cast<std::size_t>(n)),
        c(static_cast<std::size_t>(m * (n + 3))),
        scratch(gemm_s8_scratch_bytes(k)) {
    Rng rng(seed + 4);
    for (auto& x : bias) x = static_cast<std::int32_t>(rng.below(2'000'001) - 1'000'000);
    args = {.a = a.data() + 1,
            .a_sum = a_sum.data(),
            .b = b.data() + 1,
            .c = c.data(),
            .m = m,
            .n = n,
            .k = k,
            .c_stride = n + 3,
            .a_scale = a_scale.data(),
            .b_scale = b_scale.data(),
            .bias = bias.data(),
            .scratch = scratch.data()};
    sum_rows();
  }
  void sum_rows() {
    for (std::int64_t i = 0; i < args.m; ++i)
      a_sum[static_cast<std::size_t>(i)] =
          std::accumulate(args.a + i * args.k, args.a + (i + 1) * args.k, std::int32_t{0});
  }
  std::vector<float> run(const KernelTable& table) {
    std::fill(c.begin(), c.end(), -7.0F);
    table.gemm_s8(args);
    std::vector<float> out;
    for (std::int64_t i = 0; i < args.m; ++i)
      out.insert(out.end(), args.c + i * args.c_stride, args.c + i * args.c_stride + args.n);
    return out;
  }

  std::vector<std::int8_t> a, b;
  std::vector<std::int32_t> a_sum;
  std::vector<float> a_scale, b_scale;
  std::vector<std::int32_t> bias;
  std::vector<float> c;
  AlignedBuffer<char> scratch;
  GemmS8Args args{};
};

using GemmS8Test = KernelTest;

TEST_P(GemmS8Test, MatchesTheReferenceForEveryNumberOfRows) {
  for (std::int64_t m = 1; m <= 40; ++m) {
    Operands x(m, 37, 75, static_cast<std::uint64_t>(m));
    EXPECT_EQ(x.run(table()), gemm_s8_ref(x.args)) << "m " << m;
  }
}

TEST_P(GemmS8Test, MatchesTheReferenceAroundTheWidthOfARegister) {
  for (const std::int64_t m : {1, 2, 3, 5, 13})
    for (const std::int64_t n : {1, 3, 4, 5, 15, 16, 17, 33})
      for (const std::int64_t k : {1, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129}) {
        Operands x(m, n, k);
        EXPECT_EQ(x.run(table()), gemm_s8_ref(x.args)) << "m " << m << " n " << n << " k " << k;
      }
}

TEST_P(GemmS8Test, MatchesTheReferenceWhenKIsLongerThanAPanel) {
  for (const std::int64_t m : {1, 7, 20})
    for (const std::int64_t k : {2047, 2049, 4096 + 65}) {
      Operands x(m, 19, k);
      EXPECT_EQ(x.run(table()), gemm_s8_ref(x.args)) << "m " << m << " k " << k;
    }
}

TEST_P(GemmS8Test, MatchesTheReferenceOnDeepSeekShapesDividedByEight) {
  struct Shape {
    std::int64_t n, k;
  };
  for (const std::int64_t m : {1, 4, 65})
    for (const Shape s : {Shape{176, 256}, {256, 176}, {1368, 256}, {72, 256}, {896, 192}}) {
      Operands x(m, s.n, s.k);
      EXPECT_EQ(x.run(table()), gemm_s8_ref(x.args)) << "m " << m << " n " << s.n << " k " << s.k;
    }
}

TEST_P(GemmS8Test, MatchesTheReferenceWhenRowsNeedTwoPasses) {
  Operands x(517, 5, 65);

  EXPECT_EQ(x.run(table()), gemm_s8_ref(x.args));
}

TEST_P(GemmS8Test, LeavesTheColumnsBetweenRowsAlone) {
  for (const std::int64_t m : {2, 21}) {
    Operands x(m, 21, 64);
    x.run(table());
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 21; j < 24; ++j) EXPECT_EQ(x.c[static_cast<std::size_t>(i * 24 + j)], -7.0F);
  }
}

TEST_P(GemmS8Test, TakesMissingScalesAsOneAndMissingBiasAsZero) {
  for (const std::int64_t m : {1, 20}) {
    Operands x(m, 18, 70);
    x.args.a_scale = nullptr;
    x.args.bias = nullptr;
    EXPECT_EQ(x.run(table()), gemm_s8_ref(x.args)) << "m " << m;
  }
}

TEST_P(GemmS8Test, IsExactWhenEveryProductIsExtremeAtTheLargestK) {
  for (const std::int64_t m : {1, 3, 9})
    for (const int a : {-128, 127})
      for (const int b : {-128, 127}) {
        Operands x(m, 17, 65'536);
        std::fill(x.a.begin(), x.a.end(), static_cast<std::int8_t>(a));
        std::fill(x.b.begin(), x.b.end(), static_cast<std::int8_t>(b));
        std::fill(x.a_scale.begin(), x.a_scale.end(), 1.0F);
        std::fill(x.b_scale.begin(), x.b_scale.end(), 1.0F);
        std::fill(x.bias.begin(), x.bias.end(), 0);
        x.sum_rows();
        const std::vector<float> got = x.run(table());
        EXPECT_TRUE(std::all_of(got.begin(), got.end(),
                                [&](float y) { return y == static_cast<float>(65'536 * a * b); }))
            << "m " << m << " a " << a << " b " << b << " got " << got[0];
      }
}

TEST_P(GemmS8Test, GivesZeroAndBiasWhenKIsZero) {
  for (const std::int64_t m : {1, 20}) {
    Operands x(m, 18, 0);
    EXPECT_EQ(x.run(table()), gemm_s8_ref(x.args));
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, GemmS8Test, every_table(), table_name);

}  // namespace
}  // namespace latent8
