#include "ops/routing.h"

#include <gtest/gtest.h>

#include "support/linears.h"

namespace latent8 {
namespace {

Routing run(int threads, const RoutingRule& rule, Matrix<float> logits, const std::vector<float>& bias) {
  ThreadPool pool(threads);
  OpContext ctx(pool);
  Routing out;
  route(ctx, rule, logits.view(), bias, out);
  return out;
}

TEST(Route, GivesATokenTheSameExpertsAloneAsAmongOthersOnAnyNumberOfThreads) {
  const RoutingRule grouped{.scores = RoutingRule::Scores::kSigmoid,
                            .top_k = 6,
                            .n_group = 8,
                            .topk_group = 3,
                            .group_score_is_sum_of_two = true,
                            .normalise = true,
                            .scale = 2.5F};
  for (const RoutingRule& rule : {grouped, RoutingRule{.top_k = 6}}) {
    const std::vector<float> bias = normal_floats(64, 3);
    const Routing all = run(1, rule, normal_matrix(50, 64, 1), bias);

    const Routing threaded = run(5, rule, normal_matrix(50, 64, 1), bias);

    EXPECT_EQ(threaded.expert, all.expert);
    EXPECT_EQ(threaded.weight, all.weight);
    const Matrix<float> logits = normal_matrix(50, 64, 1);
    Matrix<float> last(1, 64);
    std::copy(logits.row(49), logits.row(49) + 64, last.row(0));
    const Routing alone = run(2, rule, std::move(last), bias);
    EXPECT_EQ(alone.expert, std::vector<std::int32_t>(all.expert.end() - 6, all.expert.end()));
    EXPECT_EQ(alone.weight, std::vector<float>(all.weight.end() - 6, all.weight.end()));
  }
}

// What the choice is by the definition, computed by sorting.
TEST(Route, ChoosesTheLargestScoresOfTheBestGroups) {
  const RoutingRule rule{.scores = RoutingRule::Scores::kSoftmax, .top_k = 2, .n_group = 3, .topk_group = 1};
  Matrix<float> logits(1, 6);
  const std::vector<float> values{0.0F, 5.0F, 4.0F, 4.5F, 5.5F, -9.0F};  // the best expert is in group 2
  std::copy(values.begin(), values.end(), logits.row(0));

  const Routing got = run(1, rule, std::move(logits), {});

  EXPECT_EQ(got.expert, (std::vector<std::int32_t>{4, 5}));
  EXPECT_GT(got.weight[0], 100.0F * got.weight[1]);
}

}  // namespace
}  // namespace latent8
