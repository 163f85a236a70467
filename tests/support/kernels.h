#pragma once
// Running a test on every kernel table, seeded operands, and comparing floats with a derived bound.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"

namespace latent8 {

// One test instance per table; those that this CPU cannot run are skipped.
//   using MyTest = KernelTest;  TEST_P(MyTest, ...) { table().gemm_f32(...); }
//   INSTANTIATE_TEST_SUITE_P(Tables, MyTest, every_table(), table_name);
class KernelTest : public testing::TestWithParam<const KernelTable*> {
 protected:
  void SetUp() override {
    if (!is_supported(*GetParam())) GTEST_SKIP() << "this CPU cannot run " << GetParam()->name;
  }
  const KernelTable& table() const { return *GetParam(); }
};

inline auto every_table() { return testing::ValuesIn(all_tables().begin(), all_tables().end()); }

inline std::string table_name(const testing::TestParamInfo<const KernelTable*>& info) {
  return info.param->name;
}

inline std::vector<float> normal_floats(std::int64_t n, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> out(static_cast<std::size_t>(n));
  for (float& x : out) x = rng.normal();
  return out;
}

inline std::vector<std::int8_t> random_codes(std::int64_t n, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::int8_t> out(static_cast<std::size_t>(n));
  for (std::int8_t& x : out) x = static_cast<std::int8_t>(rng.below(256) - 128);
  return out;
}

// Rounding unit of fp32.
inline constexpr double kUnit = std::numeric_limits<float>::epsilon() / 2.0;

// Bound of the error of a sum of k products in fp32, any order of additions, each product and addition
// rounded: gamma(2k) * sum |a b|. Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd
// ed., 3.1.
inline double sum_bound(std::int64_t k, double magnitude) {
  const double u = 2.0 * static_cast<double>(k) * kUnit;
  return u / (1.0 - u) * magnitude + std::numeric_limits<float>::min();
}

// Expects |got[i] - want[i]| <= bound(i) for every i; NaN is never close.
template <class Got, class Bound>
void expect_close(const std::vector<Got>& got, const std::vector<double>& want, const Bound& bound) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    ASSERT_TRUE(std::fabs(static_cast<double>(got[i]) - want[i]) <= bound(i))
        << "element " << i << ": got " << got[i] << ", want " << want[i] << " +- " << bound(i);
}

}  // namespace latent8
