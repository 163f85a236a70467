#include "engine/scheduler.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "support/collecting_sink.h"

namespace latent8 {
namespace {

std::unique_ptr<Sequence> sequence(RequestId id, std::int64_t prompt, std::int64_t answer,
                                   std::int32_t priority = 0) {
  static CollectingSink sink;
  Request request;
  request.token_ids.assign(static_cast<std::size_t>(prompt), 1);
  request.priority = priority;
  return std::make_unique<Sequence>(id, std::move(request), sink, prompt + answer, 16);
}

// What the engine does with a plan, without a model. Returns the ids of the sequences that got their last
// token and were removed.
std::vector<RequestId> run(std::span<const Chunk> plan, Scheduler& scheduler) {
  std::vector<RequestId> finished;
  std::vector<bool> completes;
  for (const Chunk& chunk : plan) completes.push_back(chunk.completes());
  scheduler.advance();
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const Chunk& chunk = plan[i];
    if (!completes[i]) continue;
    chunk.seq->tokens.push_back(2);
    if (chunk.seq->length() >= chunk.seq->token_limit) finished.push_back(chunk.seq->id);
  }
  for (const RequestId id : finished) scheduler.remove(id);
  return finished;
}
std::vector<RequestId> run(Scheduler& scheduler) { return run(scheduler.schedule(), scheduler); }

// Runs a step; whether its first chunk was a prompt's.
bool run_first_is_prompt(Scheduler& scheduler) {
  const auto plan = scheduler.schedule();
  const bool prompt = plan[0].prompt;
  run(plan, scheduler);
  return prompt;
}

SchedulerLimits limits(std::int32_t num_blocks = 100) {
  return {.max_num_seqs = 4, .max_num_batched_tokens = 64, .block_size = 16, .num_blocks = num_blocks};
}

TEST(Scheduler, CutsAPromptIntoChunks) {
  Scheduler scheduler(limits());
  scheduler.add(sequence(1, 150, 1));
  std::vector<std::int64_t> chunks;

  for (int i = 0; i < 3; ++i) {
    const auto plan = scheduler.schedule();
    ASSERT_EQ(plan.size(), 1U);
    chunks.push_back(plan[0].tokens);
    scheduler.advance();
  }

  EXPECT_EQ(chunks, (std::vector<std::int64_t>{64, 64, 22}));
}

TEST(Scheduler, MixesDecodesWithAChunkOfAPrompt) {
  Scheduler scheduler(limits());
  scheduler.add(sequence(1, 10, 5));
  run(scheduler);
  scheduler.add(sequence(2, 200, 5));

  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0].tokens, 1);
  EXPECT_EQ(plan[1].tokens, 63);
}

TEST(Scheduler, TakesNoMoreOfAPromptBesideDecodesThanItIsTold) {
  Scheduler scheduler(limits());
  scheduler.add(sequence(1, 200, 5));
  EXPECT_EQ(scheduler.schedule(16)[0].tokens, 64);  // nobody decodes
  scheduler.remove(1);
  scheduler.add(sequence(2, 10, 50));
  run(scheduler);
  scheduler.add(sequence(3, 200, 5));

  const auto plan = scheduler.schedule(16);

  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[1].tokens, 16);
  EXPECT_EQ(scheduler.schedule(16)[1].tokens, 16);
}

TEST(Scheduler, LetsDecodesGoOnWhileAPromptBeforeThemIsLong) {
  Scheduler scheduler(limits());
  scheduler.add(sequence(2, 10, 50));
  run(scheduler);
  scheduler.add(sequence(1, 300, 5));
  run(scheduler);

  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0].tokens, 63);
  EXPECT_EQ(plan[1].tokens, 1);
}

// One token may be left of a prompt, and one is what a decode has: the sequence's state tells them apart.
TEST(Scheduler, CallsTheLastTokenOfAPromptAPrompt) {
  Scheduler scheduler(limits());
  scheduler.add(sequence(1, 65, 5));
  std::vector<bool> prompt;

  for (int i = 0; i < 3; ++i) {
    prompt.push_back(scheduler.schedule()[0].prompt);
    run(scheduler);
  }

  EXPECT_EQ(prompt, (std::vector<bool>{true, true, false}));
}

TEST(Scheduler, ComputesAnAnswerAgainAsAPromptAfterAPreemption) {
  Scheduler scheduler(limits(3));
  scheduler.add(sequence(1, 16, 30));
  scheduler.add(sequence(2, 16, 30));
  while (scheduler.preemptions() == 0) run(scheduler);
  ASSERT_EQ(scheduler.waiting()[0]->id, 2);
  ASSERT_GT(scheduler.waiting()[0]->answer_tokens(), 0);
  std::vector<bool> prompt;

  while (scheduler.waiting().size() == 1) prompt.assign(1, run_first_is_prompt(scheduler));
  prompt.push_back(run_first_is_prompt(scheduler));

  EXPECT_EQ(prompt, (std::vector<bool>{true, false}));
}

// A sequence with drafts has several tokens to decode in one step.
TEST(Scheduler, DecodesAllThatASequenceHasBeyondItsPrompt) {
  Scheduler scheduler(limits());
  scheduler.add(sequence(1, 10, 20));
  scheduler.add(sequence(2, 200, 5));
  run(scheduler);
  scheduler.running()[0]->tokens.insert(scheduler.running()[0]->tokens.end(), {7, 8});

  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 2U);
  EXPECT_FALSE(plan[0].prompt);
  EXPECT_EQ(plan[0].tokens, 3);
  EXPECT_EQ(plan[1].tokens, 61);
}

TEST(Scheduler, AdmitsInOrderOfArrival) {
  Scheduler scheduler(limits());
  for (RequestId id = 1; id <= 6; ++id) scheduler.add(sequence(id, 4, 5));

  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 4U);  // max_num_seqs
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(plan[i].seq->id, static_cast<RequestId>(i + 1));
}

TEST(Scheduler, AdmitsAHigherPriorityFirst) {
  Scheduler scheduler(limits());
  scheduler.add(sequence(1, 64, 5));
  scheduler.add(sequence(2, 64, 5, 1));

  EXPECT_EQ(scheduler.schedule()[0].seq->id, 2);
}

TEST(Scheduler, WaitsUntilBlocksForTheWholePromptAreFree) {
  Scheduler scheduler(limits(6));
  scheduler.add(sequence(1, 64, 2));
  scheduler.add(sequence(2, 48, 2));

  run(scheduler);

  EXPECT_EQ(scheduler.running().size(), 1U);
  EXPECT_EQ(scheduler.waiting().size(), 1U);
  EXPECT_EQ(scheduler.free_blocks(), 2);
}

TEST(Scheduler, PreemptsTheNewestWhenBlocksRunOut) {
  Scheduler scheduler(limits(4));
  scheduler.add(sequence(1, 16, 40));
  scheduler.add(sequence(2, 16, 40));
  scheduler.add(sequence(3, 16, 40));
  run(scheduler);  // each needs its second block in the next step

  run(scheduler);

  EXPECT_EQ(scheduler.preemptions(), 1);
  ASSERT_EQ(scheduler.running().size(), 2U);
  EXPECT_EQ(scheduler.waiting()[0]->id, 3);
  EXPECT_EQ(scheduler.waiting()[0]->num_computed_tokens, 0);
}

TEST(Scheduler, PreemptsTheLowerPriorityFirst) {
  Scheduler scheduler(limits(3));
  scheduler.add(sequence(1, 16, 30));
  scheduler.add(sequence(2, 16, 30, 1));
  run(scheduler);

  run(scheduler);
  run(scheduler);

  EXPECT_EQ(scheduler.running()[0]->id, 2);
  EXPECT_EQ(scheduler.waiting()[0]->id, 1);
}

SchedulerLimits with_prefix_cache(std::int32_t num_blocks = 100) {
  SchedulerLimits limited = limits(num_blocks);
  limited.prefix_cache = true;
  return limited;
}

TEST(Scheduler, BeginsBehindTheFullBlocksThatHoldItsFirstTokens) {
  Scheduler scheduler(with_prefix_cache());
  scheduler.add(sequence(1, 40, 1));
  run(scheduler);
  scheduler.add(sequence(2, 60, 5));

  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 1U);
  EXPECT_EQ(plan[0].seq->num_computed_tokens, 32);
  EXPECT_EQ(plan[0].tokens, 28);
  EXPECT_EQ(plan[0].seq->cached_tokens, 32);
  EXPECT_EQ(scheduler.prefix_hits(), 32);
  EXPECT_EQ(scheduler.prefix_queries(), 100);
}

TEST(Scheduler, LeavesATokenToComputeWhereAllAreCached) {
  Scheduler scheduler(with_prefix_cache());
  scheduler.add(sequence(1, 32, 1));
  run(scheduler);
  scheduler.add(sequence(2, 32, 5));

  EXPECT_EQ(scheduler.schedule()[0].tokens, 16);
}

TEST(Scheduler, HoldsSharedBlocksOnce) {
  Scheduler scheduler(with_prefix_cache());
  scheduler.add(sequence(1, 40, 20));
  run(scheduler);
  scheduler.add(sequence(2, 40, 20));
  run(scheduler);

  EXPECT_EQ(scheduler.running().size(), 2U);
  EXPECT_EQ(scheduler.free_blocks(), 100 - 4);  // two shared, one of each alone
}

// The answers of n > 1 come at once: the first computes the prompt, the others only what is behind its
// blocks.
TEST(Scheduler, WaitsForThePrefixThatAnotherComputes) {
  Scheduler scheduler(with_prefix_cache());
  for (RequestId id = 1; id <= 3; ++id) scheduler.add(sequence(id, 100, 20));

  EXPECT_EQ(scheduler.schedule().size(), 1U);
  run(scheduler.schedule(), scheduler);  // 64 of the first one
  run(scheduler);                        // its last 36, and all but 96 of the others
  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 3U);
  EXPECT_EQ(scheduler.running()[1]->num_computed_tokens, 96);
}

TEST(Scheduler, AdmitsOthersPastOneThatWaitsForAPrefix) {
  Scheduler scheduler(with_prefix_cache());
  scheduler.add(sequence(1, 100, 20));
  scheduler.add(sequence(2, 100, 20));
  scheduler.add(sequence(3, 10, 20));
  scheduler.waiting()[2]->tokens.assign(10, 5);
  run(scheduler);  // no room beside the first one's 64 tokens

  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[1].seq->id, 3);
}

TEST(Scheduler, ComputesThePromptWhoseLogprobsAreWanted) {
  Scheduler scheduler(with_prefix_cache());
  scheduler.add(sequence(1, 40, 1));
  run(scheduler);
  scheduler.add(sequence(2, 40, 5));
  scheduler.waiting()[0]->prompt_logprobs = 0;

  EXPECT_EQ(scheduler.schedule()[0].tokens, 40);
}

TEST(Scheduler, TakesKeptBlocksWhenNoOthersAreFree) {
  Scheduler scheduler(with_prefix_cache(4));
  scheduler.add(sequence(1, 48, 1));
  run(scheduler);
  scheduler.add(sequence(2, 60, 1));
  scheduler.waiting()[0]->tokens.assign(60, 7);
  run(scheduler);
  scheduler.add(sequence(3, 48, 1));

  EXPECT_EQ(scheduler.free_blocks(), 4);
  EXPECT_EQ(scheduler.schedule()[0].tokens, 48);
}

SchedulerLimits with_drafts(std::int64_t most, std::int32_t num_blocks = 100) {
  SchedulerLimits limited = with_prefix_cache(num_blocks);
  limited.max_drafts = most;
  return limited;
}

// Drafts for all that decode, as an MTP layer would make them.
void draft(const Scheduler& scheduler, std::int64_t count) {
  for (const auto& seq : scheduler.running()) {
    if (seq->in_prefill()) continue;
    seq->tokens.insert(seq->tokens.end(), static_cast<std::size_t>(count), 3);
    seq->drafts = count;
  }
}

TEST(Scheduler, PlansDraftsBehindWhatASequenceHas) {
  Scheduler scheduler(with_drafts(2));
  scheduler.add(sequence(1, 10, 20));
  run(scheduler);
  draft(scheduler, 2);

  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 1U);
  EXPECT_EQ(plan[0].tokens, 1);
  EXPECT_EQ(plan[0].drafts, 2);
  EXPECT_TRUE(plan[0].completes());
  EXPECT_EQ(plan[0].seq->length(), 11);
}

TEST(Scheduler, LeavesPromptsHalfOfTheTokensThatDraftsCouldTake) {
  Scheduler scheduler(with_drafts(4));
  for (RequestId id = 1; id <= 3; ++id) scheduler.add(sequence(id, 10, 100));
  run(scheduler);
  while (scheduler.waiting().size() + scheduler.running().size() < 3 || scheduler.running()[2]->in_prefill())
    run(scheduler);
  draft(scheduler, 20);
  scheduler.add(sequence(4, 200, 5));
  scheduler.waiting()[0]->tokens.assign(200, 9);

  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 4U);
  EXPECT_EQ(plan[0].drafts + plan[1].drafts + plan[2].drafts, 30);
  EXPECT_EQ(plan[3].tokens, 31);
}

// Drafts take only blocks that are left over.
TEST(Scheduler, DropsDraftsForWhichThereIsNoBlock) {
  Scheduler scheduler(with_drafts(2, 2));
  scheduler.add(sequence(1, 15, 10));
  scheduler.add(sequence(2, 10, 5));
  scheduler.waiting()[1]->tokens.assign(10, 5);
  run(scheduler);
  draft(scheduler, 2);

  const auto plan = scheduler.schedule();

  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0].drafts, 0);
  EXPECT_EQ(plan[1].drafts, 2);
  EXPECT_EQ(scheduler.preemptions(), 0);
}

// The MTP layer's entry behind the prefix wants the hidden state of the prefix's last token.
TEST(Scheduler, ComputesTheLastTokenOfAPrefixAgainForTheMtpLayer) {
  Scheduler scheduler(with_drafts(1));
  scheduler.add(sequence(1, 40, 1));
  scheduler.schedule()[0].seq->mtp_tokens = 41;
  scheduler.advance();
  scheduler.remove(1);
  scheduler.add(sequence(2, 60, 5));

  const Chunk chunk = scheduler.schedule()[0];

  EXPECT_EQ(chunk.seq->cached_tokens, 32);
  EXPECT_EQ(chunk.seq->num_computed_tokens, 31);
  EXPECT_EQ(chunk.seq->mtp_tokens, 32);
  EXPECT_TRUE(chunk.seq->mtp_follows());
  EXPECT_EQ(chunk.tokens, 29);
}

TEST(Scheduler, KnowsThatTheMtpLayerRestedWhenAPrefixWasComputed) {
  Scheduler scheduler(with_drafts(1));
  scheduler.add(sequence(1, 40, 1));
  scheduler.schedule()[0].seq->mtp_tokens = 20;
  scheduler.advance();
  scheduler.remove(1);
  scheduler.add(sequence(2, 60, 5));

  const Chunk chunk = scheduler.schedule()[0];

  EXPECT_EQ(chunk.seq->num_computed_tokens, 32);
  EXPECT_FALSE(chunk.seq->mtp_follows());
}

TEST(Scheduler, KeepsBlocksOfAcceptedDraftsOnly) {
  Scheduler scheduler(with_drafts(4));
  scheduler.add(sequence(1, 14, 40));
  run(scheduler);
  draft(scheduler, 4);
  Sequence& seq = *scheduler.schedule()[0].seq;
  seq.drafts -= 1;  // the first was right: 16 tokens are computed
  seq.accepted_drafts = 1;
  seq.keep_drafts(0);
  seq.tokens.push_back(2);

  scheduler.advance();

  EXPECT_EQ(seq.num_computed_tokens, 16);
  EXPECT_EQ(seq.kept_blocks, 1);
  EXPECT_EQ(seq.remaining(), 1);
}

void check_invariants(const Scheduler& scheduler, const SchedulerLimits& limits,
                      std::span<const Chunk> plan) {
  std::set<std::int32_t> used;
  std::int64_t held = 0, planned = 0;
  for (const auto& seq : scheduler.running()) {
    used.insert(seq->blocks.ids().begin(), seq->blocks.ids().end());
    held += static_cast<std::int64_t>(seq->blocks.ids().size());
    RC_ASSERT(seq->num_computed_tokens < seq->length());
  }
  const auto distinct = static_cast<std::int64_t>(used.size());
  RC_ASSERT(limits.prefix_cache || distinct == held);  // no block in two tables
  RC_ASSERT(distinct + scheduler.free_blocks() == limits.num_blocks);
  for (const auto& seq : scheduler.waiting()) RC_ASSERT(seq->blocks.ids().empty());
  for (const Chunk& chunk : plan) {
    RC_ASSERT(chunk.tokens >= 1);
    RC_ASSERT(chunk.tokens <= chunk.seq->remaining());
    RC_ASSERT(static_cast<std::int64_t>(chunk.seq->blocks.ids().size()) * 16 >= chunk.seq->length());
    planned += chunk.tokens;
  }
  RC_ASSERT(planned <= 64);
  RC_ASSERT(scheduler.running().size() <= 4U);
  RC_ASSERT(scheduler.idle() || !plan.empty());
}

RC_GTEST_PROP(Scheduler, KeepsItsInvariantsUnderRandomOperations, ()) {
  const std::int32_t num_blocks = *rc::gen::inRange(4, 20);
  SchedulerLimits limited = limits(num_blocks);
  limited.prefix_cache = *rc::gen::arbitrary<bool>();
  Scheduler scheduler(limited);
  RequestId next = 1;
  const auto operations = *rc::gen::container<std::vector<int>>(60, rc::gen::inRange(0, 10));

  for (const int operation : operations) {
    if (operation < 3) {
      const std::int64_t room = num_blocks * 16;
      const std::int64_t prompt = *rc::gen::inRange<std::int64_t>(1, room);
      const std::int64_t answer = *rc::gen::inRange<std::int64_t>(1, room - prompt + 1);
      scheduler.add(sequence(next++, prompt, answer, *rc::gen::inRange(0, 2)));
    } else if (operation == 3) {
      scheduler.remove(*rc::gen::inRange<RequestId>(1, next + 1));
    } else {
      const std::span<const Chunk> plan = scheduler.schedule();
      check_invariants(scheduler, limited, plan);
      run(plan, scheduler);
    }
  }
  for (int steps = 0; !scheduler.idle(); ++steps) {  // everything that fits the cache alone finishes
    RC_ASSERT(steps < 100000);
    run(scheduler);
  }
  RC_ASSERT(scheduler.free_blocks() == num_blocks);
}

}  // namespace
}  // namespace latent8
