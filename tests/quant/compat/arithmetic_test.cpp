// The roundings, windows and lists of the msmodelslim mode, one by one.

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/compat/fake_quant.h"
#include "quant/compat/int8_linear.h"
#include "quant/compat/plan.h"
#include "quant/compat/recall_window.h"
#include "quant/compat/smoothing.h"
#include "quant/weights/rounding.h"

namespace latent8::compat {
namespace {

using testing::ElementsAre;

Matrix<float> matrix(std::int64_t cols, const std::vector<float>& values) {
  Matrix<float> out(static_cast<std::int64_t>(values.size()) / cols, cols);
  std::copy(values.begin(), values.end(), out.row(0));
  return out;
}

TEST(CompatRecallWindow, IsTheNarrowestIntervalAndTheLowestOnATie) {
  std::vector<float> values{9, 1, 2, 3, 11, 10};

  const Range window = recall_window(values, 0.5);

  EXPECT_EQ(window.low, 1);  // [9, 11] is as narrow
  EXPECT_EQ(window.high, 3);
}

TEST(CompatRecallWindow, HoldsEverythingAtRatioOne) {
  std::vector<float> values{3, -7, 5};

  const Range window = recall_window(values, 1.0);

  EXPECT_EQ(window.low, -7);
  EXPECT_EQ(window.high, 5);
}

TEST(CompatRecallWindow, LooksAtTheEndsOfTheOrderOnly) {
  std::vector<float> values(20'001);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[(i * 7919) % values.size()] = static_cast<float>(i * i % 7001) - 3000.0F;
  values[5] = 1e6F;
  values[17] = -2e6F;
  std::vector<float> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const auto count = static_cast<std::size_t>(0.9999 * 20'001);
  Range narrowest{sorted[0], sorted[count - 1]};
  for (std::size_t i = 1; i + count <= sorted.size(); ++i)
    if (sorted[i + count - 1] - sorted[i] < narrowest.high - narrowest.low)
      narrowest = {sorted[i], sorted[i + count - 1]};

  const Range window = recall_window(values, kRecallRatio);

  EXPECT_EQ(window.low, narrowest.low);
  EXPECT_EQ(window.high, narrowest.high);
}

TEST(CompatInt8, RoundsTheQuotientToTheModelsTypeFirst) {
  ThreadPool pool(1);
  // 127 / 1 sets the scale to 1; 100.3 becomes 100.5 in bf16, which rounds to even.
  const float w = round_to(DType::kBf16, 1.984375F);

  const Int8Weight one = quantize_weight(pool, DType::kBf16, matrix(2, {127.0F, 100.3F}));
  const Int8Weight odd = quantize_weight(pool, DType::kBf16, matrix(2, {w, w * 0.5F}));

  EXPECT_EQ(one.scale[0], 1.0F);
  EXPECT_EQ(one.codes.row(0)[1], 100);
  EXPECT_EQ(odd.codes.row(0)[0], 127);
  EXPECT_EQ(odd.codes.row(0)[1], 64);  // 63.5 goes to the even code
}

TEST(CompatInt8, ARowOfZerosHasTheSmallestScale) {
  ThreadPool pool(1);

  const Int8Weight weight = quantize_weight(pool, DType::kBf16, matrix(3, {0, 0, 0}));

  EXPECT_EQ(weight.scale[0], 0x1p-23F);
  EXPECT_EQ(weight.codes.row(0)[2], 0);
}

TEST(CompatInt8, QuantBiasIsWhatAnX86MakesOfItBeyondInt32) {
  ThreadPool pool(1);
  const Int8Weight weight = quantize_weight(pool, DType::kBf16, matrix(1, {0.0F}));

  const StaticTensors tensors = static_tensors(DType::kBf16, weight, {0x1p-23F, 0.0F}, {1.0F});

  EXPECT_EQ(tensors.quant_bias[0], std::numeric_limits<std::int32_t>::min());
}

TEST(CompatMeanRange, WeighsCallsAlikeAndHoldsZero) {
  MeanRange range;
  range.add({1.0F, 2.0F});
  range.add({2.0F, 100.0F});

  const StaticInput input = range.input(DType::kBf16);  // [0, 51]

  EXPECT_EQ(input.scale, round_to(DType::kBf16, 51.0F / 255.0F));
  EXPECT_EQ(input.offset, -128.0F);
}

TEST(CompatMeanRange, TheOffsetComesFromTheRoundedScale) {
  MeanRange range;
  range.add({-1.0F, 2.0F});

  const StaticInput input = range.input(DType::kBf16);

  EXPECT_EQ(input.scale, 0.01177978515625F);  // 3 / 255 = 0.0117647
  EXPECT_EQ(input.offset, -43.0F);            // 84.89 is 85 in bf16
}

TEST(CompatFakeQuant, GivesBackMultiplesOfTheScale) {
  Matrix<float> x = matrix(3, {-5.0F, 0.3F, 300.0F});

  fake_quantize(DType::kBf16, {0.25F, -100.0F}, x.view());

  EXPECT_THAT(std::vector(x.row(0), x.row(0) + 3), ElementsAre(-5.0F, 0.25F, 56.75F));
}

TEST(CompatSmoothing, ADeadChannelIsDividedByTheSmallestScale) {
  GroupStatistics statistics;
  statistics.channels = {{0.0F, 0.0F}, {-4.0F, 1.0F}};
  LinearTensors linear{matrix(2, {1.0F, 0.25F}), {}};

  const std::vector<float> scale = m4_scale(DType::kBf16, statistics, {&linear});

  EXPECT_THAT(scale, ElementsAre(round_to(DType::kBf16, 1e-5F), 4.0F));
  EXPECT_THAT(m4_shift(DType::kBf16, statistics), ElementsAre(0.0F, -1.5F));
}

TEST(CompatSmoothing, M6TakesPowersWithExponentsOfTheModelsType) {
  GroupStatistics statistics;
  statistics.channels = {{-3.0F, 1.0F}};
  LinearTensors linear{matrix(1, {0.5F}), {}};

  const std::vector<float> scale = m6_scale(DType::kBf16, statistics, {&linear}, {0.9F, 0.1F});

  const float a = round_to(DType::kBf16, std::pow(3.0F, round_to(DType::kBf16, 0.9F)));
  const float w = round_to(DType::kBf16, std::pow(0.5F, round_to(DType::kBf16, 0.1F)));
  EXPECT_THAT(scale, ElementsAre(round_to(DType::kBf16, a / w)));
}

}  // namespace
}  // namespace latent8::compat
