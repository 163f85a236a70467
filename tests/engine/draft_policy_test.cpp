#include "engine/draft_policy.h"

#include <gtest/gtest.h>

#include <functional>

namespace latent8 {
namespace {

// A machine: what a step of so many tokens takes, and the MTP layer for so many drafts; and how often a draft
// of each place comes.
struct Machine {
  std::function<double(std::int64_t tokens)> step_s;
  double follow_s = 0.0, draft_s = 0.0;  // of the layer at all, and for each draft of a sequence
  double layer = 0.0;                    // likewise, for every draft and once more: a part of the step's time
  double come = 0.9;                     // of the first; of the next its square, ...
};

// What the policy chose after `steps` steps of `sequences`, and how long they took beside steps without
// drafts, per token.
struct Ran {
  DraftPolicy::Choice last;
  double relative_time;
};

Ran run(DraftPolicy& policy, const Machine& machine, std::int64_t sequences, int steps) {
  DraftPolicy::Choice choice;
  double time_s = 0.0, tokens = 0.0;
  for (int i = 0; i < steps; ++i) {
    const double step_s = machine.step_s(sequences * (1 + choice.drafts));
    DraftPolicy::PerPlace drafted{}, accepted{};
    double come = 1.0;
    tokens += static_cast<double>(sequences);
    for (std::size_t d = 0; d < static_cast<std::size_t>(choice.drafts); ++d) {
      come *= machine.come;
      drafted[d] = 1000 * sequences;
      accepted[d] = static_cast<std::int64_t>(1000.0 * come * static_cast<double>(sequences));
      tokens += come * static_cast<double>(sequences);
    }
    policy.observe_drafts(drafted, accepted);
    policy.observe_step(sequences * (1 + choice.drafts), step_s);
    choice = policy.choose(sequences, sequences);
    const double mtp_s =
        choice.rests ? 0.0
                     : machine.follow_s + machine.draft_s * static_cast<double>(choice.drafts) +
                           machine.layer * machine.step_s(sequences) * static_cast<double>(1 + choice.drafts);
    if (!choice.rests) policy.observe_drafting(sequences, choice.drafts, mtp_s);
    time_s += step_s + mtp_s;
  }
  return {choice, time_s / tokens / (machine.step_s(sequences) / static_cast<double>(sequences))};
}

TEST(DraftPolicy, DraftsAsManyAsItIsTold) {
  DraftPolicy policy(3, /*fixed=*/true);
  EXPECT_EQ(policy.choose(1, 1).drafts, 3);
  EXPECT_EQ(policy.choose(100, 100).drafts, 3);
  EXPECT_FALSE(policy.choose(100, 0).rests);
}

TEST(DraftPolicy, DraftsMostWhereMoreTokensTakeTheSameTime) {
  DraftPolicy policy(4, false);
  const Machine reads_weights{
      .step_s = [](std::int64_t) { return 0.1; }, .follow_s = 0.002, .draft_s = 0.001};
  const Ran ran = run(policy, reads_weights, 1, 1000);
  EXPECT_EQ(ran.last.drafts, 4);
  EXPECT_LT(ran.relative_time, 0.35);
}

TEST(DraftPolicy, DraftsNoneWhereEveryTokenTakesItsTime) {
  DraftPolicy policy(4, false);
  const Machine computes{.step_s = [](std::int64_t tokens) { return 0.01 * static_cast<double>(tokens); },
                         .follow_s = 0.01,
                         .draft_s = 0.01};
  const Ran ran = run(policy, computes, 8, 3000);
  EXPECT_EQ(ran.last.drafts, 0);
  EXPECT_TRUE(ran.last.rests);
  EXPECT_LT(ran.relative_time, 1.02);
}

// Sequences end one after the other: numbers that a batch only passes through are not measured each.
TEST(DraftPolicy, DraftsNoneForABatchThatShrinks) {
  DraftPolicy policy(4, false);
  const Machine computes{.step_s = [](std::int64_t tokens) { return 0.01 * static_cast<double>(tokens); },
                         .layer = 0.15};
  double relative = run(policy, computes, 32, 200).relative_time * 200;
  for (std::int64_t sequences = 31; sequences > 0; --sequences)
    relative += run(policy, computes, sequences, 20).relative_time * 20;
  EXPECT_LT(relative / (200 + 31 * 20), 1.05);
}

TEST(DraftPolicy, ChoosesByTheBatch) {
  DraftPolicy policy(4, false);
  const Machine machine{.step_s =
                            [](std::int64_t tokens) {
                              return 0.1 + 0.01 * static_cast<double>(std::max<std::int64_t>(0, tokens - 4));
                            },
                        .follow_s = 0.001,
                        .draft_s = 0.001,
                        .come = 0.8};
  EXPECT_GE(run(policy, machine, 1, 500).last.drafts, 2);
  EXPECT_EQ(run(policy, machine, 64, 500).last.drafts, 0);
  EXPECT_GE(run(policy, machine, 1, 500).last.drafts, 2);
}

TEST(DraftPolicy, StopsWhereDraftsDoNotCome) {
  DraftPolicy policy(4, false);
  const Machine machine{
      .step_s = [](std::int64_t tokens) { return 0.1 + 0.03 * static_cast<double>(tokens); },
      .follow_s = 0.0005,
      .draft_s = 0.002,
      .come = 0.1};
  const Ran ran = run(policy, machine, 1, 2000);
  EXPECT_EQ(ran.last.drafts, 0);
  EXPECT_FALSE(ran.last.rests);  // the layer costs next to nothing
  EXPECT_LT(ran.relative_time, 1.02);
}

// The first steps took long for another reason than their tokens.
TEST(DraftPolicy, StopsWhereStepsWithoutDraftsWereMeasuredTooSlow) {
  DraftPolicy policy(4, false);
  int steps = 0;
  const Machine machine{
      .step_s = [&](std::int64_t tokens) { return (++steps < 40 ? 0.5 : 0.1) * static_cast<double>(tokens); },
      .follow_s = 0.01,
      .draft_s = 0.01};
  run(policy, machine, 1, 3);
  EXPECT_EQ(run(policy, machine, 1, 3000).last.drafts, 0);
}

TEST(DraftPolicy, FollowsNewPromptsWhereDraftsWouldPay) {
  DraftPolicy policy(1, false);
  const Machine machine{.step_s = [](std::int64_t) { return 0.1; }, .follow_s = 0.01, .draft_s = 0.001};
  run(policy, machine, 1, 100);
  EXPECT_FALSE(policy.choose(1, 0).rests);
}

}  // namespace
}  // namespace latent8
