#include "engine/chunk_budget.h"

#include <gtest/gtest.h>

#include <functional>

namespace latent8 {
namespace {

// Steps of a machine that takes time_s(n) for n tokens, each as large as the budget says.
std::int64_t settle(ChunkBudget& budget, const std::function<double(double)>& time_s, int steps = 50) {
  for (int i = 0; i < steps; ++i)
    budget.observe(budget.tokens(), time_s(static_cast<double>(budget.tokens())));
  return budget.tokens();
}

TEST(ChunkBudget, GivesAllBeforeAnythingIsKnown) { EXPECT_EQ(ChunkBudget(0.1, 512).tokens(), 512); }

TEST(ChunkBudget, GivesAllWhereGapsMayBeLong) {
  ChunkBudget budget(0.0, 512);
  EXPECT_EQ(settle(budget, [](double n) { return n; }), 512);
}

TEST(ChunkBudget, FillsTheGapThatIsAllowed) {
  ChunkBudget budget(0.2, 512);
  EXPECT_NEAR(static_cast<double>(settle(budget, [](double n) { return 0.04 + 0.001 * n; })), 160.0, 16.0);
}

TEST(ChunkBudget, SpendsNoMoreThanHalfOfAStepOnReadingWeights) {
  ChunkBudget budget(0.2, 4096);
  EXPECT_NEAR(static_cast<double>(settle(budget, [](double n) { return 1.0 + 0.001 * n; })), 1000.0, 32.0);
}

TEST(ChunkBudget, FollowsAMachineThatGetsSlower) {
  ChunkBudget budget(0.2, 512);
  settle(budget, [](double n) { return 0.001 * n; });
  EXPECT_NEAR(static_cast<double>(settle(budget, [](double n) { return 0.004 * n; })), 50.0, 16.0);
}

TEST(ChunkBudget, StaysInItsBoundsOnTimesThatMakeNoSense) {
  ChunkBudget budget(0.2, 100);
  for (int i = 0; i < 100; ++i) {
    budget.observe(1 + i * 7 % 100, i % 3 == 0 ? 1e-9 : 1e3);
    EXPECT_GE(budget.tokens(), 16);
    EXPECT_LE(budget.tokens(), 100);
  }
}

}  // namespace
}  // namespace latent8
