#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "base/rng.h"

namespace latent8 {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

SampleResult sample(const std::vector<float>& logits, const SamplingParams& params,
                    const std::vector<std::int32_t>& tokens = {0}, std::int64_t prompt_tokens = 1,
                    const std::vector<std::uint64_t>& allowed = {}) {
  Sampler sampler;
  return sampler.sample({.logits = logits,
                         .params = &params,
                         .tokens = tokens,
                         .prompt_tokens = prompt_tokens,
                         .allowed = allowed});
}

// How often each token is drawn, over `n` seeds.
std::map<std::int32_t, int> draws(const std::vector<float>& logits, SamplingParams params, int n) {
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < n; ++i) {
    params.seed = static_cast<std::uint64_t>(i);
    ++counts[sample(logits, params).token.id];
  }
  return counts;
}

std::vector<float> random_logits(std::int64_t n, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> logits;
  for (std::int64_t i = 0; i < n; ++i) logits.push_back(3.0F * rng.normal());
  return logits;
}

TEST(Sampler, TakesTheLowestIdOfEqualLogits) { EXPECT_EQ(sample({1.0F, 5.0F, 2.0F, 5.0F}, {}).token.id, 1); }

TEST(Sampler, ReportsLogitsThatAreNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInf})
    for (const float temperature : {0.0F, 1.0F})
      EXPECT_EQ(sample({1.0F, bad, 2.0F}, {.temperature = temperature}).status,
                SampleResult::Status::kNotFinite);
}

TEST(Sampler, ReportsAMaskThatAllowsNothing) {
  EXPECT_EQ(sample({1.0F, 2.0F}, {}, {0}, 1, {0}).status, SampleResult::Status::kNothingAllowed);
}

TEST(Sampler, AddsTheBiasOfATokenToItsLogit) {
  EXPECT_EQ(sample({1.0F, 5.0F, 2.0F}, {.logit_bias = {{2, 3.5F}}}).token.id, 2);
  EXPECT_EQ(sample({1.0F, 5.0F, 2.0F}, {.logit_bias = {{1, -100.0F}}}).token.id, 2);
}

TEST(Sampler, LeavesLogprobsAsTheModelHasThem) {
  const SamplingParams biased{.logit_bias = {{2, 100.0F}}, .logprobs = 0};
  const float expected = std::log(std::exp(1.0F) / (std::exp(1.0F) + std::exp(3.0F)));

  EXPECT_NEAR(sample({-kInf, 3.0F, 1.0F}, biased).token.logprob, expected, 1e-6F);
}

TEST(Sampler, ChoosesNoTokenThatEndsBeforeTheLeastNumberOfTokens) {
  Sampler sampler;
  const std::vector<float> logits{9.0F, 8.0F, 1.0F};
  const std::vector<std::int32_t> eos{0}, tokens{2, 2, 2};
  const SamplingParams params{.min_tokens = 2, .stop_token_ids = {1}};
  const auto choose = [&](std::int64_t prompt_tokens) {
    return sampler
        .sample({.logits = logits,
                 .params = &params,
                 .tokens = tokens,
                 .prompt_tokens = prompt_tokens,
                 .allowed = {},
                 .eos_token_ids = eos})
        .token.id;
  };

  EXPECT_EQ(choose(3), 2);  // the first
  EXPECT_EQ(choose(2), 2);  // the second
  EXPECT_EQ(choose(1), 0);  // the third may be the end
}

TEST(Sampler, EndsBeforeTheLeastNumberOfTokensWhereTheMaskAllowsNothingElse) {
  Sampler sampler;
  const std::vector<float> logits{1.0F, 9.0F};
  const std::vector<std::int32_t> eos{0}, tokens{1};
  const std::vector<std::uint64_t> only_eos{0b01};
  const SamplingParams params{.min_tokens = 5};

  const SampleResult result = sampler.sample({.logits = logits,
                                              .params = &params,
                                              .tokens = tokens,
                                              .prompt_tokens = 1,
                                              .allowed = only_eos,
                                              .eos_token_ids = eos});

  EXPECT_EQ(result.status, SampleResult::Status::kChosen);
  EXPECT_EQ(result.token.id, 0);
}

TEST(Sampler, ScoresAGivenToken) {
  Sampler sampler;
  const std::vector<float> logits{1.0F, 3.0F, 2.0F};
  const double lse = std::log(std::exp(1.0) + std::exp(3.0) + std::exp(2.0));

  const SampleResult result = sampler.score(logits, 0, 2);

  EXPECT_NEAR(result.token.logprob, 1.0 - lse, 1e-6);
  EXPECT_EQ(result.token.rank, 3);
  ASSERT_EQ(result.top.size(), 2U);
  EXPECT_EQ(result.top[0].id, 1);
  EXPECT_EQ(result.top[1].id, 2);
  EXPECT_EQ(sampler.score(std::vector<float>{kInf, 1.0F}, 1, 0).status, SampleResult::Status::kNotFinite);
}

TEST(Sampler, TakesTheLargestAllowedLogit) {
  EXPECT_EQ(sample({9.0F, 1.0F, 2.0F, 8.0F}, {}, {0}, 1, {0b0110}).token.id, 2);
}

TEST(Sampler, DrawsTokensAsOftenAsTheirProbability) {
  const std::vector<float> logits{std::log(0.5F), std::log(0.3F), std::log(0.2F)};

  const auto counts = draws(logits, {.temperature = 1.0F}, 20000);

  EXPECT_NEAR(counts.at(0), 10000, 300);  // 4 standard deviations
  EXPECT_NEAR(counts.at(1), 6000, 270);
  EXPECT_NEAR(counts.at(2), 4000, 240);
}

TEST(Sampler, DrawsFromTheFrontAsOftenAsItsShare) {
  const std::vector<float> logits{std::log(0.2F), std::log(0.5F), std::log(0.3F)};

  const auto counts = draws(logits, {.temperature = 1.0F, .top_k = 2}, 20000);

  EXPECT_EQ(counts.count(0), 0U);
  EXPECT_NEAR(counts.at(1), 12500, 280);
}

TEST(Sampler, SharpensWithALowTemperature) {
  const std::vector<float> logits{std::log(0.6F), std::log(0.4F)};

  const auto counts = draws(logits, {.temperature = 0.5F}, 20000);

  EXPECT_NEAR(counts.at(0), 20000 * 0.36 / 0.52, 270);
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt) {
  const std::vector<float> logits{std::log(0.1F), std::log(0.5F), std::log(0.3F), std::log(0.1F)};

  const auto counts = draws(logits, {.temperature = 1.0F, .top_p = 0.75F}, 2000);

  EXPECT_EQ(counts.size(), 2U);
  EXPECT_GT(counts.at(1), counts.at(2));
}

TEST(Sampler, TopPReachesBeyondTheFirstSortedTokens) {
  const std::vector<float> logits(1000, 0.0F);

  const auto counts = draws(logits, {.temperature = 1.0F, .top_p = 0.5F}, 20000);

  EXPECT_EQ(counts.size(), 500U);
  EXPECT_EQ(counts.rbegin()->first, 499);
}

TEST(Sampler, MinPLeavesOutTokensFarBelowTheLikeliest) {
  const std::vector<float> logits{std::log(0.6F), std::log(0.35F), std::log(0.05F)};

  const auto counts = draws(logits, {.temperature = 1.0F, .min_p = 0.1F}, 2000);

  EXPECT_EQ(counts.size(), 2U);
}

TEST(Sampler, TakesTheLikeliestAtATinyTemperature) {
  const std::vector<float> logits{1.0F, 3.0F, 2.0F};

  EXPECT_EQ(draws(logits, {.temperature = 1e-38F}, 50).at(1), 50);
}

TEST(Sampler, NeverDrawsATokenOfNoWeight) {
  const std::vector<float> logits{-kInf, 0.0F, -kInf};

  EXPECT_EQ(draws(logits, {.temperature = 5.0F}, 500).at(1), 500);
}

TEST(Sampler, DrawsDifferentNumbersAtEveryPlaceOfAnAnswer) {
  const std::vector<float> logits(64, 0.0F);
  std::map<std::int32_t, int> counts;
  std::vector<std::int32_t> tokens{0};

  for (int i = 0; i < 64; ++i) {
    tokens.push_back(sample(logits, {.temperature = 1.0F, .seed = 7}, tokens, 1).token.id);
    ++counts[tokens.back()];
  }

  EXPECT_GT(counts.size(), 25U);  // about 40 of 64 are expected
}

TEST(Sampler, RepetitionPenaltyLowersTokensOfPromptAndAnswer) {
  const SamplingParams params{.repetition_penalty = 2.0F};

  EXPECT_EQ(sample({4.0F, 3.0F, 2.5F}, params, {0, 1}, 1).token.id, 2);
  EXPECT_EQ(sample({-1.0F, -1.5F}, params, {0}, 1).token.id, 1);
}

TEST(Sampler, PresenceAndFrequencyPenaltiesCountTheAnswerOnly) {
  const std::vector<float> logits{2.0F, 1.5F};

  EXPECT_EQ(sample(logits, {.presence_penalty = 1.0F}, {0}, 1).token.id, 0);
  EXPECT_EQ(sample(logits, {.presence_penalty = 1.0F}, {1, 0}, 1).token.id, 1);
  EXPECT_EQ(sample(logits, {.frequency_penalty = 0.3F}, {1, 0}, 1).token.id, 0);
  EXPECT_EQ(sample(logits, {.frequency_penalty = 0.3F}, {1, 0, 0}, 1).token.id, 1);
}

TEST(Sampler, GivesLogprobsOfTheModelBeforeTemperatureAndPenalties) {
  const std::vector<float> logits{std::log(0.5F), std::log(0.3F), std::log(0.2F)};
  const SamplingParams params{.temperature = 0.0F, .repetition_penalty = 50.0F, .logprobs = 2};

  const SampleResult result = sample(logits, params, {0}, 1);

  EXPECT_NEAR(result.token.logprob, logits[static_cast<std::size_t>(result.token.id)], 1e-6);
  ASSERT_EQ(result.top.size(), 2U);
  EXPECT_EQ(result.top[0].id, 0);
  EXPECT_NEAR(result.top[0].logprob, std::log(0.5F), 1e-6);
  EXPECT_EQ(result.top[1].id, 1);
}

TEST(Sampler, GivesTheSameTokenFromUsedMemory) {
  const std::vector<float> logits = random_logits(500, 3);
  Sampler used;
  for (int i = 0; i < 20; ++i) {
    const SamplingParams params{.temperature = 0.9F,
                                .top_p = 0.9F,
                                .top_k = i * 10,
                                .repetition_penalty = i % 2 == 0 ? 1.0F : 1.3F,
                                .seed = static_cast<std::uint64_t>(i)};
    const std::vector<std::int32_t> tokens{1, 2, 3, 4, 4};
    const SampleInput in{
        .logits = logits, .params = &params, .tokens = tokens, .prompt_tokens = 2, .allowed = {}};

    EXPECT_EQ(used.sample(in).token.id, sample(logits, params, tokens, 2).token.id);
  }
}

}  // namespace
}  // namespace latent8
