#include "eval/divergence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/errors.h"

namespace latent8 {
namespace {

using testing::HasSubstr;

TEST(ComparePredictions, OfEqualLogitsIsZeroWhateverIsAddedToBoth) {
  const std::vector<float> a = {1.0F, 2.0F, 3.0F}, b = {101.0F, 102.0F, 103.0F};

  const Prediction p = compare_predictions(a, b, 2);

  EXPECT_NEAR(p.kld, 0.0, 1e-12);
  EXPECT_NEAR(p.nll, p.nll_reference, 1e-12);
  EXPECT_TRUE(p.same_top1);
}

TEST(ComparePredictions, IsTheDivergenceFromReferenceToModelInNats) {
  const std::vector<float> reference = {std::log(0.75F), std::log(0.25F)};
  const std::vector<float> model = {std::log(0.25F), std::log(0.75F)};

  const Prediction p = compare_predictions(reference, model, 0);

  EXPECT_NEAR(p.kld, 0.75 * std::log(3.0) + 0.25 * std::log(1.0 / 3.0), 1e-6);
  EXPECT_NEAR(p.nll, std::log(4.0), 1e-6);
  EXPECT_NEAR(p.nll_reference, std::log(4.0 / 3.0), 1e-6);
  EXPECT_FALSE(p.same_top1);
}

TEST(ComparePredictions, StaysFiniteForLogitsFarApart) {
  const std::vector<float> reference = {1000.0F, -1000.0F}, model = {-1000.0F, 1000.0F};

  EXPECT_NEAR(compare_predictions(reference, model, 0).kld, 2000.0, 1e-6);
}

TEST(Summarize, TakesTheSmallestValueThatNinetyNinePercentDoNotExceed) {
  std::vector<Prediction> predictions(200);
  for (std::size_t i = 0; i < predictions.size(); ++i) predictions[i].kld = static_cast<double>(i + 1);

  const Divergence d = summarize(predictions, 1);

  EXPECT_EQ(d.kld_p99, 198.0);
  EXPECT_EQ(d.kld_max, 200.0);
  EXPECT_EQ(d.kld_mean, 100.5);
}

TEST(Summarize, GivesPerplexityAndAgreement) {
  const std::vector<Prediction> predictions = {{0.0, std::log(2.0), std::log(4.0), true},
                                               {0.0, std::log(8.0), std::log(4.0), false}};

  const Divergence d = summarize(predictions, 3);

  EXPECT_NEAR(d.ppl, 4.0, 1e-12);
  EXPECT_NEAR(d.ppl_reference, 4.0, 1e-12);
  EXPECT_EQ(d.top1, 0.5);
  EXPECT_EQ(d.windows, 3);
}

TEST(TextWindows, DoNotOverlapAndDropTheRest) {
  std::vector<std::int32_t> ids(2500);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i);

  const auto windows = text_windows(ids, 0, "text");

  ASSERT_EQ(windows.size(), 2U);
  EXPECT_EQ(windows[1].front(), 1024);
  EXPECT_EQ(windows[1].back(), 2047);
}

TEST(TextWindows, RefuseATextShorterThanOne) {
  const std::vector<std::int32_t> ids(1023, 5);

  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { text_windows(ids, 0, "a.txt"); }),
              HasSubstr("a.txt: at least one window of 1024 tokens"));
}

class MeasureDivergence : public testing::Test {
 protected:
  DeepseekModel model_{load_weights(std::make_shared<const Checkpoint>(
      Checkpoint::open(std::filesystem::path(LATENT8_SOURCE_DIR) / "models/tiny-r1")))};
  ThreadPool pool_{2};
  OpContext ctx_{pool_};
  // Two windows of running ids.
  static std::vector<std::vector<std::int32_t>> windows() {
    std::vector<std::vector<std::int32_t>> out(2);
    for (int w = 0; w < 2; ++w)
      for (int i = 0; i < kWindowTokens; ++i)
        out[static_cast<std::size_t>(w)].push_back(100 + (i * 7 + w) % 3000);
    return out;
  }
};

TEST_F(MeasureDivergence, OfAModelFromItselfIsZero) {
  const Divergence d = measure_divergence(ctx_, {model_, {}}, {model_, {}}, windows());

  EXPECT_EQ(d.kld_max, 0.0);
  EXPECT_EQ(d.top1, 1.0);
  EXPECT_EQ(d.ppl, d.ppl_reference);
  EXPECT_EQ(d.predictions, 2 * (1024 - 128));
}

TEST_F(MeasureDivergence, OfACacheRoundedToFp16IsSmallAndNotZero) {
  EvalOptions rounded;
  rounded.float_cache = CacheType::kF16;

  const Divergence d = measure_divergence(ctx_, {model_, {}}, {model_, rounded}, windows());

  EXPECT_GT(d.kld_mean, 0.0);
  EXPECT_LT(d.kld_mean, 1e-3);
}

TEST_F(MeasureDivergence, GivesThePerplexityThatIsMeasuredAlone) {
  const Divergence d = measure_divergence(ctx_, {model_, {}}, {model_, {}}, windows());
  const Perplexity p = measure_perplexity(ctx_, {model_, {}}, windows());

  EXPECT_DOUBLE_EQ(p.ppl, d.ppl);
  EXPECT_EQ(p.windows, 2);
}

}  // namespace
}  // namespace latent8
