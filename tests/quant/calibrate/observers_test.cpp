#include "quant/calibrate/observers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/aligned_buffer.h"
#include "base/rng.h"

namespace latent8 {
namespace {

using testing::ElementsAre;

Matrix<float> matrix(std::int64_t rows, std::int64_t cols, const std::vector<float>& values) {
  Matrix<float> out(rows, cols);
  std::copy(values.begin(), values.end(), out.row(0));
  return out;
}

TEST(InputObserver, SeesNoTokenThatDoesNotCount) {
  InputObserver observer({1.0, 1.0});
  const Matrix<float> x = matrix(3, 2, {100.0F, -100.0F, 1.0F, -2.0F, 3.0F, 0.5F});
  const std::vector<std::uint8_t> counts{0, 1, 1};
  observer.observe(x.view(), counts);
  EXPECT_EQ(observer.low(), -2.0F);
  EXPECT_EQ(observer.high(), 3.0F);
}

// 4,096 rows of one wide channel and one narrow one.
Matrix<float> normal_rows(float wide, float narrow) {
  Rng rng(7);
  Matrix<float> x(4096, 2);
  for (std::int64_t t = 0; t < x.rows(); ++t) {
    x.row(t)[0] = wide * rng.normal();
    x.row(t)[1] = narrow * rng.normal();
  }
  return x;
}

TEST(InputObserver, ClipsAValueThatMattersLittle) {
  InputObserver observer({1.0e-3, 1.0});
  Matrix<float> x = normal_rows(1.0F, 1.0F);
  x.row(100)[0] = 8.0F;
  observer.observe(x.view(), std::vector<std::uint8_t>(4096, 1));
  const StaticInput all = static_input(DType::kF32, observer.low(), observer.high());
  EXPECT_EQ(observer.high(), 8.0F);
  EXPECT_LT(observer.best_input(DType::kF32).scale, 0.9F * all.scale);
}

TEST(InputObserver, KeepsARangeThatIsUsedEverywhere) {
  InputObserver observer({1.0});
  Matrix<float> x(2000, 1);
  for (std::int64_t t = 0; t < x.rows(); ++t) x.row(t)[0] = static_cast<float>(t - 1000) / 1000.0F;
  observer.observe(x.view(), std::vector<std::uint8_t>(2000, 1));
  const StaticInput best = observer.best_input(DType::kF32);
  EXPECT_EQ(best.scale, static_input(DType::kF32, observer.low(), observer.high()).scale);
}

TEST(InputObserver, WeighsAChannelByItsColumnOfTheWeights) {
  const Matrix<float> x = normal_rows(4.0F, 1.0F);
  const std::vector<std::uint8_t> counts(4096, 1);
  InputObserver wide({1.0, 1.0e-6}), narrow({1.0e-6, 1.0});
  wide.observe(x.view(), counts);
  narrow.observe(x.view(), counts);
  EXPECT_LT(narrow.best_input(DType::kF32).scale, 0.5F * wide.best_input(DType::kF32).scale);
}

TEST(FaObserver, HasOneScalePerHead) {
  FaObserver observer(2);
  // Two heads of rank 2, three tokens; the first is BOS.
  const Matrix<float> q =
      matrix(3, 4, {900.0F, 0.0F, 0.0F, 900.0F, 1.27F, 0.1F, -25.4F, 3.0F, -0.5F, 0.2F, 12.7F, 0.0F});
  const std::vector<std::uint8_t> counts{0, 1, 1};
  observer.observe(q.view(), counts);
  EXPECT_THAT(observer.q_scale(DType::kF32), ElementsAre(testing::FloatEq(0.01F), testing::FloatEq(0.2F)));
}

TEST(FaObserver, RoundsScalesToTheModelsType) {
  FaObserver observer(1);
  const Matrix<float> one = matrix(1, 1, {1.0F});
  const std::vector<std::uint8_t> counts{1};
  observer.observe(one.view(), counts);
  EXPECT_THAT(observer.q_scale(DType::kBf16), ElementsAre(0.00787353515625F));
}

}  // namespace
}  // namespace latent8
