#include "quant/latent/latent_fold.h"
#include "source/latent_rotation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/aligned_buffer.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

constexpr std::int64_t kHidden = 48, kOut = 40;

// A latent's way from the hidden state to W_UK and W_UV.
class LatentFoldTest : public testing::TestWithParam<std::int64_t> {
 protected:
  LatentFoldTest() {
    fill(kv_a_, 1);
    fill(kv_b_, 2);
    gamma_ = normal_floats(rank_, 3);
    for (float& g : gamma_) g = 0.5F + std::fabs(g);
    gamma_[5] *= 32.0F;
    x_ = normal_floats(kHidden, 4);
  }
  static void fill(Matrix<float>& m, std::uint64_t seed) {
    const std::vector<float> values = normal_floats(m.rows() * m.cols(), seed);
    std::copy(values.begin(), values.end(), m.row(0));
  }
  LatentWeights weights() { return {kv_a_.view(), gamma_, kv_b_.view()}; }
  // gamma * rms_norm(kv_a x), in float64
  std::vector<double> latent() const {
    std::vector<double> c(static_cast<std::size_t>(rank_));
    double squares = 0.0;
    for (std::int64_t r = 0; r < rank_; ++r) {
      for (std::int64_t i = 0; i < kHidden; ++i) c[r] += double{kv_a_.row(r)[i]} * x_[i];
      squares += c[r] * c[r] / static_cast<double>(rank_);
    }
    for (std::int64_t r = 0; r < rank_; ++r) c[r] *= gamma_[r] / std::sqrt(squares + 1e-6);
    return c;
  }
  std::vector<double> expanded() const {
    const std::vector<double> c = latent();
    std::vector<double> y(kOut);
    for (std::int64_t r = 0; r < kOut; ++r)
      for (std::int64_t i = 0; i < rank_; ++i) y[r] += kv_b_.row(r)[i] * c[i];
    return y;
  }
  void expect_same_function(const LatentFold& fold) {
    const std::vector<double> before = expanded();
    apply_fold(pool_, fold, weights());
    const std::vector<double> after = expanded();
    double size = 0.0;
    for (const double y : before) size = std::max(size, std::fabs(y));
    for (std::int64_t r = 0; r < kOut; ++r) EXPECT_NEAR(after[r], before[r], 4e-6 * size);
  }
  std::vector<float> some_scale() const {
    std::vector<float> s = normal_floats(rank_, 9);
    for (float& v : s) v = 0.25F + std::fabs(v);
    return s;
  }

  std::int64_t rank_ = GetParam();
  Matrix<float> kv_a_{rank_ + 16, kHidden}, kv_b_{kOut, rank_};
  std::vector<float> gamma_, x_;
  ThreadPool pool_{2};
};

TEST_P(LatentFoldTest, AScaleKeepsTheFunction) { expect_same_function({false, some_scale()}); }
TEST_P(LatentFoldTest, ARotationKeepsTheFunction) { expect_same_function({true, {}}); }
TEST_P(LatentFoldTest, ARotationWithAScaleKeepsTheFunction) { expect_same_function({true, some_scale()}); }

TEST_P(LatentFoldTest, AScaleDividesTheStoredLatent) {
  const std::vector<double> before = latent();
  const std::vector<float> scale = some_scale();
  apply_fold(pool_, {false, scale}, weights());
  const std::vector<double> after = latent();
  for (std::int64_t r = 0; r < rank_; ++r)
    EXPECT_NEAR(after[r] * scale[r], before[r], 1e-6 * std::fabs(before[r]));
}

TEST_P(LatentFoldTest, ARotationSpreadsALargeChannel) {
  const auto peak = [&] {
    double amax = 0.0, squares = 0.0;
    for (const double c : latent()) {
      amax = std::max(amax, std::fabs(c));
      squares += c * c;
    }
    return amax / std::sqrt(squares / static_cast<double>(rank_));
  };
  const double before = peak();
  apply_fold(pool_, {true, {}}, weights());
  EXPECT_LT(peak(), 0.6 * before);
}

TEST_P(LatentFoldTest, APowerOfTwoChangesNoMantissa) {
  const std::vector<float> gamma = gamma_;
  const std::vector<float> scale = to_powers_of_two(some_scale());
  apply_fold(pool_, {false, scale}, weights());
  for (std::int64_t r = 0; r < rank_; ++r) EXPECT_EQ(gamma_[r] * scale[r], gamma[r]);
}

TEST_P(LatentFoldTest, TheRopeRowsStayAsTheyAre) {
  Matrix<float> before(rank_ + 16, kHidden);
  fill(before, 1);
  apply_fold(pool_, {true, some_scale()}, weights());
  for (std::int64_t r = rank_; r < rank_ + 16; ++r)
    for (std::int64_t c = 0; c < kHidden; ++c) EXPECT_EQ(kv_a_.row(r)[c], before.row(r)[c]);
}
INSTANTIATE_TEST_SUITE_P(Ranks, LatentFoldTest, testing::Values(32, 48, 512));

TEST(LatentRotation, IsOrthogonal) {
  std::vector<float> a = normal_floats(256, 5), b = normal_floats(256, 6);
  const auto dot = [&] {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
    return sum;
  };
  const double before = dot();
  const LatentRotation rotation(a.size());
  rotation.turn(a);
  rotation.turn(b);
  EXPECT_NEAR(dot(), before, 1e-4);
}

TEST(LatentFold, IsNamedByWhatItDoes) {
  EXPECT_EQ(LatentFold{}.name(), "none");
  EXPECT_EQ((LatentFold{false, {2.0F}}).name(), "fold");
  EXPECT_EQ((LatentFold{true, {}}).name(), "rotation");
  EXPECT_EQ((LatentFold{true, {2.0F}}).name(), "both");
}

}  // namespace
}  // namespace latent8
