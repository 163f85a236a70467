#include "model/gate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/rope_table.h"
#include "model/shapes.h"

namespace latent8 {
namespace {

// Eight experts in four groups, two groups and two experts chosen.
ModelConfig small_config(const char* method) {
  ModelConfig c = *shape_config("r1");
  c.n_routed_experts = 8;
  c.n_group = 4;
  c.topk_group = 2;
  c.num_experts_per_tok = 2;
  c.topk_method = method;
  c.scoring_func = c.topk_method == "noaux_tc" ? "sigmoid" : "softmax";
  c.norm_topk_prob = c.topk_method == "noaux_tc";
  c.routed_scaling_factor = 2.0;
  return c;
}

Routing route_one(const ModelConfig& config, std::vector<float> logits, const std::vector<float>& bias = {}) {
  Routing out;
  ThreadPool pool(1);
  OpContext ctx(pool);
  route(ctx, routing_rule(config), {logits.data(), 1, static_cast<std::int64_t>(logits.size())}, bias, out);
  return out;
}

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

TEST(Gate, ChoosesOnlyFromTheGroupsWithTheBestTwoExperts) {
  // The largest single logit (expert 0) is in a group whose sum is small.
  const Routing r =
      route_one(small_config("noaux_tc"), {3, -9, 2, 2, 1.5F, 2.5F, -9, -9}, std::vector<float>(8, 0.0F));

  EXPECT_EQ(r.expert, (std::vector<std::int32_t>{5, 2}));
}

TEST(Gate, TheBiasMovesTheChoiceAndNotTheWeights) {
  std::vector<float> bias(8, 0.0F);
  bias[7] = bias[6] = 10.0F;

  const Routing r = route_one(small_config("noaux_tc"), {0, 0, 0, 0, 0, 0, 1, -1}, bias);

  EXPECT_EQ(r.expert, (std::vector<std::int32_t>{6, 7}));
  const float sum = sigmoid(1) + sigmoid(-1);
  EXPECT_FLOAT_EQ(r.weight[0], 2.0F * sigmoid(1) / sum);
  EXPECT_FLOAT_EQ(r.weight[1], 2.0F * sigmoid(-1) / sum);
}

TEST(Gate, EqualScoresGoToTheLowerIndex) {
  const Routing r =
      route_one(small_config("noaux_tc"), std::vector<float>(8, 0.5F), std::vector<float>(8, 0.0F));

  EXPECT_EQ(r.expert, (std::vector<std::int32_t>{0, 1}));
}

TEST(Gate, GroupLimitedGreedyRanksGroupsByTheirBestExpert) {
  const Routing r = route_one(small_config("group_limited_greedy"), {3, -9, 2, 2, 1.5F, 2.5F, -9, -9});

  EXPECT_EQ(r.expert, (std::vector<std::int32_t>{0, 5}));
}

TEST(Gate, GreedyWeightsAreTheSoftmaxTimesTheScale) {
  ModelConfig config = small_config("greedy");
  config.n_group = config.topk_group = 1;

  const Routing r = route_one(config, {0, 0, 0, 0, 0, 0, 0, std::log(3.0F)});

  EXPECT_EQ(r.expert[0], 7);
  EXPECT_NEAR(r.weight[0], 2.0F * 0.3F, 1e-6F);
  EXPECT_NEAR(r.weight[1], 2.0F * 0.1F, 1e-6F);
}

TEST(Rope, SoftmaxScalesOfKnownModels) {
  EXPECT_NEAR(softmax_scale(*shape_config("r1")), 0.135234F, 1e-6F);  // docs/numerics.md, "RoPE and YaRN"
  EXPECT_NEAR(softmax_scale(*shape_config("v2-lite")), 0.114721F, 1e-6F);
  EXPECT_NEAR(softmax_scale(*shape_config("moonlight")), 1.0F / std::sqrt(192.0F), 1e-7F);
}

// R1: pairs below 10 keep their frequency, pairs from 23 on are stretched 40 times.
TEST(Rope, YarnBlendsBetweenTheCorrectionDimensions) {
  const ModelConfig config = *shape_config("r1");
  const RopeFrequencies frequencies(config);
  const RopeTable table = frequencies.table();
  const auto angle = [&](std::int64_t pair) {  // of position 1
    const auto at = static_cast<std::size_t>(32 + pair);
    return std::atan2(table.sin[at], table.cos[at]);
  };
  const auto plain = [](std::int64_t pair) { return std::pow(10000.0F, -static_cast<float>(pair) / 32.0F); };

  EXPECT_NEAR(angle(10) / plain(10), 1.0F, 1e-5F);
  EXPECT_LT(angle(11) / plain(11), 0.95F);
  EXPECT_NEAR(angle(23) / plain(23), 1.0F / 40, 1e-5F);
  EXPECT_NEAR(std::hypot(table.sin[40], table.cos[40]), 1.0F, 1e-6F);  // mscale / mscale_all_dim is 1
}

TEST(Rope, PositionsAreFilledWhenTheyAreAskedForAndAlike) {
  ModelConfig config = *shape_config("r1");
  const RopeFrequencies some(config), all(config);
  const auto at = static_cast<std::size_t>(20000 * 32 + 7);

  EXPECT_EQ(some.table(3).cos[at], 0.0F);
  EXPECT_EQ(some.table(20001).cos[at], all.table().cos[at]);
  EXPECT_EQ(some.table(20001).sin[at], all.table().sin[at]);
  EXPECT_NE(some.table().cos[at], 0.0F);

  config.max_position_embeddings = 10'000'000;  // 2.6 GB if it were filled
  EXPECT_NE(RopeFrequencies(config).table(1).cos[0], 0.0F);
}

TEST(QueryScale, GrowsWithTheLogarithmOfThePosition) {
  ModelConfig c;
  EXPECT_EQ(query_scale(c, 1 << 20), 1.0F);
  c.llama_4_scaling = {0.1, 8192};
  EXPECT_EQ(query_scale(c, 8191), 1.0F);
  EXPECT_FLOAT_EQ(query_scale(c, 8192), 1.0F + 0.1F * std::log(2.0F));
  EXPECT_FLOAT_EQ(query_scale(c, 3 * 8192 + 5), 1.0F + 0.1F * std::log(4.0F));
}

}  // namespace
}  // namespace latent8
