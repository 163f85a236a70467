// What must not change an answer: the batch, the chunks, the threads, the blocks, a preemption. Bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>

#include "engine/engine_models.h"

namespace latent8 {
namespace {

struct Answer {
  std::vector<std::int32_t> ids;
  std::vector<float> logprobs;
  bool operator==(const Answer&) const = default;
};

constexpr std::int64_t kRequests = 5;

// Request i: prompts of 7 to 200 tokens; greedy and drawn answers.
Request request_number(std::int64_t i) {
  SamplingParams sampling;
  sampling.max_tokens = 12;
  sampling.ignore_eos = true;
  sampling.logprobs = 0;
  sampling.temperature = i % 2 == 0 ? 0.0F : 0.8F;
  sampling.top_p = 0.9F;
  sampling.seed = static_cast<std::uint64_t>(i);
  return request_of(random_prompt(std::vector<std::int64_t>{7, 200, 33, 128, 61}[static_cast<std::size_t>(i)],
                                  static_cast<std::uint64_t>(i)),
                    sampling);
}

EngineOptions base_options() {
  EngineOptions options;
  options.threads = 1;
  options.max_model_len = 256;
  options.max_num_seqs = kRequests;
  return options;
}

// All requests at once, or one after the other.
std::vector<Answer> answers(const std::shared_ptr<const DeepseekModel>& model, const EngineOptions& options,
                            bool together, std::int64_t* preemptions = nullptr) {
  Engine engine(model, options);
  std::deque<CollectingSink> sinks(kRequests);
  for (std::int64_t i = 0; i < kRequests; ++i) {
    CollectingSink& sink = sinks[static_cast<std::size_t>(i)];
    engine.submit(request_number(i), sink);
    if (!together) sink.wait();
  }
  std::vector<Answer> out;
  for (CollectingSink& sink : sinks) {
    sink.wait();
    out.push_back({sink.ids, sink.logprobs});
  }
  if (preemptions != nullptr) *preemptions = engine.stats().preemptions;
  return out;
}

struct ModelCase {
  const char* name;
  const char* path;
};

class Equality : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override {
    model_ = open_model(GetParam().path);
    alone_ = answers(model_, base_options(), false);
    for (const Answer& answer : alone_) ASSERT_EQ(answer.ids.size(), 12U);
  }
  std::shared_ptr<const DeepseekModel> model_;
  std::vector<Answer> alone_;
};

TEST_P(Equality, AnswersInABatchAreThoseOfRequestsAlone) {
  EXPECT_EQ(answers(model_, base_options(), true), alone_);
}

TEST_P(Equality, AnswersDoNotDependOnTheChunksOfThePrompt) {
  for (const std::int64_t tokens : {16, 64, 100}) {
    EngineOptions options = base_options();
    options.max_num_batched_tokens = tokens;
    EXPECT_EQ(answers(model_, options, true), alone_) << tokens;
  }
}

TEST_P(Equality, OneTokenAStepGivesTheSameAnswers) {
  EngineOptions options = base_options();
  options.max_num_batched_tokens = 1;
  EXPECT_EQ(answers(model_, options, true), alone_);
}

TEST_P(Equality, AnswersDoNotDependOnTheThreads) {
  for (const int threads : {2, 3}) {
    EngineOptions options = base_options();
    options.threads = threads;
    EXPECT_EQ(answers(model_, options, true), alone_) << threads;
  }
}

TEST_P(Equality, AnswersDoNotDependOnTheBlockSize) {
  for (const std::int64_t block_size : {16, 48, 64}) {
    EngineOptions options = base_options();
    options.block_size = block_size;
    EXPECT_EQ(answers(model_, options, true), alone_) << block_size;
  }
}

TEST_P(Equality, AnswersDoNotChangeWhenRequestsArePreempted) {
  EngineOptions options = base_options();
  options.block_size = 16;
  const std::int64_t block_bytes =
      16 * LatentCache::bytes_per_token(model_->cache_layers(CacheType::kF32));  // int8 layers take less
  options.cache_dtype = CacheDType::kFp32;
  options.cache_bytes = 14 * block_bytes;
  EngineOptions same_dtype = base_options();
  same_dtype.cache_dtype = CacheDType::kFp32;
  std::int64_t preemptions = 0;

  const std::vector<Answer> got = answers(model_, options, true, &preemptions);

  EXPECT_EQ(got, answers(model_, same_dtype, false));
  EXPECT_GT(preemptions, 0);
}

// Twice the same: the second time from the cache, in whatever batch, behind answers too.
TEST_P(Equality, AnswersDoNotDependOnPrefixHits) {
  for (const std::int64_t block_size : {16, 32}) {
    EngineOptions options = base_options();
    options.block_size = block_size;
    Engine engine(model_, options);
    for (int round = 0; round < 2; ++round) {
      std::deque<CollectingSink> sinks(kRequests);
      for (std::int64_t i = 0; i < kRequests; ++i)
        engine.submit(request_number(i), sinks[static_cast<std::size_t>(i)]);
      for (std::size_t i = 0; i < kRequests; ++i) {
        const CollectingSink& sink = sinks[i].wait();
        EXPECT_EQ((Answer{sink.ids, sink.logprobs}), alone_[i]) << i;
        const std::int64_t whole = (sink.finish.usage.prompt_tokens - 1) / block_size * block_size;
        EXPECT_EQ(sink.finish.usage.cached_tokens, round == 0 ? 0 : whole) << i;
      }
    }
    EXPECT_EQ(engine.stats().free_blocks, engine.stats().num_blocks);
  }
}

// The next turn of a conversation: prompt and answer of the one before are found, and hold what computing
// them as a prompt gives.
TEST_P(Equality, AnAnswerIsFoundAsAPrefixOfTheNextPrompt) {
  EngineOptions options = base_options(), without = base_options();
  options.block_size = without.block_size = 16;
  without.prefix_cache = false;
  Engine engine(model_, options), computes(model_, without);
  SamplingParams sampling = request_number(0).sampling;
  sampling.max_tokens = 60;
  std::vector<std::int32_t> ids = random_prompt(50, 77);
  CollectingSink first;
  engine.submit(request_of(ids, sampling), first);
  first.wait();
  ids.insert(ids.end(), first.ids.begin(), first.ids.end());
  ids.push_back(17);
  CollectingSink hit, computed;

  engine.submit(request_of(ids, sampling), hit);
  computes.submit(request_of(ids, sampling), computed);

  EXPECT_GE(hit.wait().finish.usage.cached_tokens, 96);
  EXPECT_EQ(computed.wait().finish.usage.cached_tokens, 0);
  EXPECT_EQ(hit.ids, computed.ids);
  EXPECT_EQ(hit.logprobs, computed.logprobs);
}

TEST_P(Equality, SeveralAnswersToOnePromptComputeItOnce) {
  EngineOptions options = base_options();
  options.block_size = 16;
  Engine engine(model_, options);
  std::deque<CollectingSink> sinks(kRequests);
  for (CollectingSink& sink : sinks) engine.submit(request_number(1), sink);
  for (CollectingSink& sink : sinks) {
    sink.wait();
    EXPECT_EQ((Answer{sink.ids, sink.logprobs}), alone_[1]);
  }
  EXPECT_EQ(engine.stats().prefill_tokens, 200 + (kRequests - 1) * 8);  // 8 are behind the last full block
}

// Logprobs of a prompt are those that its tokens had as an answer, however the prompt is cut, and hits and
// preemptions leave none of them out.
TEST_P(Equality, PromptLogprobsAreThoseOfTheAnswer) {
  SamplingParams sampling = request_number(1).sampling;
  sampling.logprobs = 3;
  sampling.max_tokens = 40;
  const std::vector<std::int32_t> prompt = random_prompt(30, 5);
  for (const std::int64_t tokens : {512, 16}) {
    EngineOptions options = base_options();
    options.block_size = 16;
    options.max_num_batched_tokens = tokens;
    Engine engine(model_, options);
    CollectingSink answer, scored;
    engine.submit(request_of(prompt, sampling), answer);
    answer.wait();
    std::vector<std::int32_t> all = prompt;
    all.insert(all.end(), answer.ids.begin(), answer.ids.end());
    Request request = request_of(all, sampling);
    request.prompt_logprobs = 3;

    engine.submit(std::move(request), scored);
    scored.wait();

    ASSERT_EQ(scored.prompt_ids, std::vector<std::int32_t>(all.begin() + 1, all.end()));
    const auto from = scored.prompt_ids.size() - answer.ids.size();
    for (std::size_t i = 0; i < answer.ids.size(); ++i) {
      EXPECT_EQ(scored.prompt_logprobs[from + i], answer.logprobs[i]) << i;
      ASSERT_EQ(scored.prompt_tops[from + i].size(), 3U);
      EXPECT_EQ(scored.prompt_tops[from + i][0].id, answer.tops[i][0].id) << i;
    }
    EXPECT_EQ(scored.finish.usage.cached_tokens, 0);
    EXPECT_EQ(scored.ids.size(), 40U);
  }
}

// A small cache, requests of several priorities that come and are cancelled at random: what a request got is
// the beginning of its answer alone, and every block comes back.
TEST_P(Equality, AnswersDoNotDependOnWhatOthersDo) {
  constexpr int kCopies = 25;
  EngineOptions options = base_options();
  options.block_size = 16;
  options.max_num_seqs = 4;
  options.max_num_batched_tokens = 48;
  options.threads = 2;
  options.cache_bytes = 20 * 16 * LatentCache::bytes_per_token(model_->cache_layers(CacheType::kF16));
  options.cache_dtype = CacheDType::kFp16;
  EngineOptions same_dtype = base_options();
  same_dtype.cache_dtype = CacheDType::kFp16;
  const std::vector<Answer> want = answers(model_, same_dtype, false);
  std::deque<CollectingSink> sinks(kCopies);
  Engine engine(model_, options);
  Rng rng(5);

  for (int i = 0; i < kCopies; ++i) {
    Request request = request_number(i % kRequests);
    request.priority = static_cast<std::int32_t>(rng.below(3));
    const RequestId id = engine.submit(std::move(request), sinks[static_cast<std::size_t>(i)]);
    if (rng.below(4) == 0) engine.cancel(id - rng.below(3));
    if (rng.below(8) == 0) sinks[static_cast<std::size_t>(i)].wait();
  }
  for (CollectingSink& sink : sinks) sink.wait();

  for (std::size_t i = 0; i < kCopies; ++i) {
    const std::vector<std::int32_t>& whole = want[i % kRequests].ids;
    ASSERT_LE(sinks[i].ids.size(), whole.size());
    EXPECT_TRUE(std::equal(sinks[i].ids.begin(), sinks[i].ids.end(), whole.begin())) << i;
    EXPECT_EQ(sinks[i].finishes, 1);
    EXPECT_EQ(sinks[i].finish.reason == FinishReason::kLength, sinks[i].ids.size() == whole.size());
  }
  EXPECT_EQ(engine.stats().free_blocks, engine.stats().num_blocks);
  EXPECT_GT(engine.stats().prefix_hit_tokens, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, Equality,
                         testing::Values(ModelCase{"tiny_float", "models/tiny-r1"},
                                         ModelCase{"tiny_int8",
                                                   "tests/data/golden/msmodelslim/a_mindie_m4_static"}),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace latent8
