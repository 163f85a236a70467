// A step says which rows it wants, and gets the same bits for them however it is cut.
#include "model/step_runner.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>

#include "base/memory_use.h"
#include "model/step_memory.h"
#include "support/model_runner.h"

namespace latent8 {
namespace {

class StepRunnerOf : public testing::TestWithParam<const char*> {
 protected:
  const DeepseekModel& model() {
    static std::map<std::string, std::shared_ptr<const DeepseekModel>> models;
    auto& slot = models[GetParam()];
    if (!slot) slot = load_model(source_path(GetParam()));
    return *slot;
  }
  std::vector<std::int32_t> prompt(std::int64_t count, std::uint64_t seed = 1) {
    return random_ids(count, model().config().vocab_size, seed);
  }
};

Matrix<float> rows_of(ConstMat<float> from, std::int64_t begin, std::int64_t end) {
  Matrix<float> out(end - begin, from.cols);
  for (std::int64_t r = begin; r < end; ++r) std::copy_n(from.row(r), from.cols, out.row(r - begin));
  return out;
}

StepPlan mtp_plan(std::vector<SequencePlan> seqs, std::vector<std::int32_t> hidden_rows) {
  return {.layers = StepPlan::Layers::kMtp, .seqs = std::move(seqs), .hidden_rows = std::move(hidden_rows)};
}

std::vector<std::int32_t> rows_from(std::int32_t first, std::size_t count) {
  std::vector<std::int32_t> rows(count);
  std::iota(rows.begin(), rows.end(), first);
  return rows;
}

TEST_P(StepRunnerOf, LogitsDoNotDependOnHowManyRowsExistAtOneTime) {
  const auto ids = prompt(70);

  const Matrix<float> at_once = std::move(run_logits(model(), {ids}, {.max_logits_rows = 70})[0]);

  for (const std::int64_t rows : {1, 32})
    EXPECT_TRUE(bit_equal(run_logits(model(), {ids}, {.max_logits_rows = rows})[0], at_once)) << rows;
}

TEST_P(StepRunnerOf, GivesTheLastRowsOfEverySequenceThatAPlanAsksFor) {
  const std::vector<std::int32_t> a = prompt(20, 1), b = prompt(9, 2), c = prompt(33, 3);
  TestSteps whole(model(), {20, 9, 33}), some(model(), {20, 9, 33});
  StepPlan all{.seqs = {whole.plan_of(0, a, 0), whole.plan_of(1, b, 0), whole.plan_of(2, c, 0)},
               .hidden_rows = {}};
  StepPlan part = all;
  part.seqs[0].num_hidden = 3, part.seqs[0].num_logits = 2;
  part.seqs[1].num_hidden = 0, part.seqs[1].num_logits = 0;
  part.seqs[2].num_hidden = 1, part.seqs[2].num_logits = 4;
  const Matrix<float> logits = whole.logits(all);
  const Matrix<float> hidden = rows_of(whole.last().hidden, 0, 62);

  const Matrix<float> got = some.logits(part);

  EXPECT_EQ(part.logits_begin(), (std::vector<std::int64_t>{0, 2, 2, 6}));
  EXPECT_EQ(part.hidden_begin(), (std::vector<std::int64_t>{0, 3, 3, 4}));
  ASSERT_EQ(some.last().hidden.rows, 4);
  EXPECT_TRUE(bit_equal(rows_of(got.view(), 0, 2), rows_of(logits.view(), 18, 20)));
  EXPECT_TRUE(bit_equal(rows_of(got.view(), 2, 6), rows_of(logits.view(), 58, 62)));
  EXPECT_TRUE(bit_equal(rows_of(some.last().hidden, 0, 3), rows_of(hidden.view(), 17, 20)));
  EXPECT_TRUE(bit_equal(rows_of(some.last().hidden, 3, 4), rows_of(hidden.view(), 61, 62)));
}

// What verifying drafts needs: rows of one step equal to steps of one token, whatever the drafts were, and a
// draft that was wrong leaves nothing behind.
TEST_P(StepRunnerOf, TokensWithDraftsDecodeAsTokenByToken) {
  const RunOptions options{.prompt = false};
  const auto ids = prompt(40);
  TestSteps one_by_one(model(), {40}, options), drafted(model(), {40}, options);
  const auto at = [&](TestSteps& steps, std::vector<std::int32_t> tokens, std::int64_t position) {
    return steps.logits({.seqs = {steps.plan_of(0, tokens, position)}, .hidden_rows = {}});
  };
  const std::vector<std::int32_t> first(ids.begin(), ids.begin() + 30);
  at(one_by_one, first, 0);
  at(drafted, first, 0);
  std::vector<Matrix<float>> want;
  for (std::size_t t = 30; t < 34; ++t)
    want.push_back(at(one_by_one, {ids[t]}, static_cast<std::int64_t>(t)));

  const Matrix<float> right = at(drafted, {ids[30], ids[31], ids[31] ^ 1}, 30);  // the last draft is wrong
  const Matrix<float> after = at(drafted, {ids[32], ids[33]}, 32);

  EXPECT_TRUE(bit_equal(rows_of(right.view(), 0, 1), want[0]));
  EXPECT_TRUE(bit_equal(rows_of(right.view(), 1, 2), want[1]));
  EXPECT_TRUE(bit_equal(rows_of(after.view(), 0, 1), want[2]));
  EXPECT_TRUE(bit_equal(rows_of(after.view(), 1, 2), want[3]));
}

TEST_P(StepRunnerOf, TheMtpLayerInChunksEqualsOneStep) {
  if (!model().has_mtp()) GTEST_SKIP() << "no MTP layer";
  const auto ids = prompt(50);
  const Matrix<float> whole = run_mtp_logits(model(), ids);
  TestSteps steps(model(), {50});
  const std::span<const std::int32_t> all(ids);

  steps.logits({.seqs = {steps.plan_of(0, all.first(30), 0)}, .hidden_rows = {}});
  const Matrix<float> front =
      steps.logits(mtp_plan({steps.plan_of(0, all.subspan(1, 30), 0)}, rows_from(0, 30)));
  steps.logits({.seqs = {steps.plan_of(0, all.subspan(30), 30)}, .hidden_rows = {}});
  const Matrix<float> back =
      steps.logits(mtp_plan({steps.plan_of(0, all.subspan(31), 30)}, rows_from(0, 19)));

  EXPECT_TRUE(bit_equal(front, rows_of(whole.view(), 0, 30)));
  EXPECT_TRUE(bit_equal(back, rows_of(whole.view(), 30, 49)));
}

// A second draft: the MTP layer reads its own hidden state and the first draft, one position further.
TEST_P(StepRunnerOf, TheMtpLayerChains) {
  if (!model().has_mtp()) GTEST_SKIP() << "no MTP layer";
  const auto ids = prompt(24);
  const std::span<const std::int32_t> all(ids);
  TestSteps steps(model(), {24});
  steps.logits({.seqs = {steps.plan_of(0, all.first(20), 0)}, .hidden_rows = {}});
  steps.logits(mtp_plan({steps.plan_of(0, all.subspan(1, 20), 0)}, rows_from(0, 20)));
  const Matrix<float> input = rows_of(steps.last().hidden, 19, 20);

  steps.logits(mtp_plan({steps.plan_of(0, all.subspan(21, 1), 20)}, {19}));
  const Matrix<float> chained = rows_of(steps.last().hidden, 0, 1);

  ThreadPool pool(1);
  OpContext ctx(pool);
  Scratch scratch(model().config(), 1);
  const SequencePlan seq = steps.plan_of(0, all.subspan(21, 1), 20);
  StepBatch batch;
  batch.add(seq.token_ids, 20, seq.block_table, 128, true);
  LatentCache& cache = steps.runner().cache();
  Matrix<float> want(1, model().config().hidden_size);
  model().mtp_forward(ctx, batch, {}, cache, scratch, input.view(), want.view());
  EXPECT_TRUE(bit_equal(chained, want));
}

TEST_P(StepRunnerOf, CountsTheClippedCodesOfEachStepAlone) {
  const auto ids = prompt(64);
  TestSteps steps(model(), {64});
  const auto clipped = [&] {
    steps.logits({.seqs = {steps.plan_of(0, ids, 0)}, .hidden_rows = {}});
    const auto codes = steps.last().clipped_codes;
    return std::vector<std::int64_t>(codes.begin(), codes.end());
  };

  const auto first = clipped(), second = clipped();

  EXPECT_EQ(first, second);
  EXPECT_EQ(first.size(), static_cast<std::size_t>(model().num_layers() + 1));
}

// The bound that an engine's memory is planned with.
TEST_P(StepRunnerOf, BuffersStayWithinTheirBound) {
  constexpr std::int64_t kTokens = 96, kContext = 4200;
  for (const Prefill prefill : {Prefill::kCached, Prefill::kFloat}) {
    ThreadPool pool(3);
    const std::int64_t before = aligned_bytes_in_use();
    OpContext ctx(pool);
    const StepRunnerOptions options{
        .attention = {.prefill = prefill}, .num_blocks = 33, .max_tokens = kTokens, .max_logits_rows = 8};
    StepRunner runner(model(), ctx, options);
    const std::int64_t cache =
        aligned_size(33 * 128 * LatentCache::bytes_per_token(model().cache_layers(options.float_cache)));
    const auto run = [&](std::int64_t position, std::int64_t tokens, bool prompt) {
      SequencePlan seq{.token_ids = random_ids(tokens, 4000, 7),
                       .position = position,
                       .block_table = rows_from(0, 33),
                       .prompt = prompt,
                       .num_hidden = tokens,
                       .num_logits = tokens};
      runner.run({.seqs = {seq}, .hidden_rows = {}});
      if (!model().has_mtp()) return;
      runner.run(mtp_plan({seq}, rows_from(0, static_cast<std::size_t>(tokens))));
    };

    run(0, kTokens, true);
    run(kContext - kTokens, kTokens, true);
    run(kContext - 1, 1, false);
    run(kContext - 13, 13, false);

    const std::int64_t used = aligned_bytes_in_use() - before - cache;
    const std::int64_t bound = step_buffer_bytes(model(), options, pool.threads(), kContext);
    EXPECT_LE(used, bound);
    EXPECT_GE(used, bound / 6);  // a bound that says nothing would refuse what fits
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, StepRunnerOf,
                         testing::Values("models/tiny-r1", "tests/data/golden/msmodelslim/a_mindie_m4_static"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           return std::string(info.param).starts_with("models") ? "float" : "int8";
                         });

}  // namespace
}  // namespace latent8
