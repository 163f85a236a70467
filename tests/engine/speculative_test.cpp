// Drafts of the MTP layer must not change an answer, bit for bit, and must be worth their name.
#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "engine/speculative_models.h"
#include "latent8/error.h"

namespace latent8 {
namespace {

EngineOptions speculating(int drafts) {
  EngineOptions options;
  options.threads = 1;
  options.max_model_len = kContext;
  options.max_num_seqs = 32;
  options.speculative = drafts > 0 ? Speculative::kMtp : Speculative::kNone;
  options.num_speculative_tokens = drafts;
  return options;
}

// All that a client sees of an answer but its times.
struct Seen {
  explicit Seen(const CollectingSink& sink)
      : ids(sink.ids),
        prompt_ids(sink.prompt_ids),
        logprobs(sink.logprobs),
        prompt_logprobs(sink.prompt_logprobs),
        reason(sink.finish.reason),
        prompt_tokens(sink.finish.usage.prompt_tokens),
        completion_tokens(sink.finish.usage.completion_tokens),
        message(sink.finish.message) {
    for (const auto& list : {sink.tops, sink.prompt_tops})
      for (const auto& top : list)
        for (const TokenLogprob& t : top) tops.emplace_back(t.id, t.logprob, t.rank);
  }
  bool operator==(const Seen&) const = default;

  std::vector<std::int32_t> ids, prompt_ids;
  std::vector<float> logprobs, prompt_logprobs;
  std::vector<std::tuple<std::int32_t, float, std::int32_t>> tops;
  FinishReason reason;
  std::int64_t prompt_tokens, completion_tokens;
  std::string message;
};

RequestId submit_case(Engine& engine, std::size_t i, CollectingSink& sink) {
  if (const std::size_t most = cases()[i].stop_after; most > 0)
    sink.each_token = [most](CollectingSink& s) { return s.ids.size() < most; };
  return engine.submit(request_of_case(i), sink);
}

std::vector<Seen> answers_of_cases(Engine& engine, bool together) {
  std::deque<CollectingSink> sinks(cases().size());
  for (std::size_t i = 0; i < sinks.size(); ++i) {
    submit_case(engine, i, sinks[i]);
    if (!together) sinks[i].wait();
  }
  std::vector<Seen> out;
  for (CollectingSink& sink : sinks) out.emplace_back(sink.wait());
  return out;
}

void expect_equal(const std::vector<Seen>& got, const std::vector<Seen>& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(got[i] == want[i]) << what << ", " << cases()[i].name;
}

std::int64_t sum(std::span<const std::int64_t> counts) {
  std::int64_t total = 0;
  for (const std::int64_t count : counts) total += count;
  return total;
}

struct MtpCase {
  const char* name;
  std::shared_ptr<const DeepseekModel> (*make)();
};

class SpeculativeDecoding : public testing::TestWithParam<MtpCase> {
 protected:
  void SetUp() override { model_ = GetParam().make(); }

  std::vector<Seen> without(const EngineOptions& like = speculating(0)) const {
    EngineOptions options = like;
    options.speculative = Speculative::kNone;
    options.num_speculative_tokens = 0;
    options.prefix_cache = false;
    Engine engine(model_, options);
    return answers_of_cases(engine, /*together=*/false);
  }

  std::shared_ptr<const DeepseekModel> model_;
};

TEST_P(SpeculativeDecoding, DoesNotChangeAnAnswerOfAnyKind) {
  const std::vector<Seen> want = without();
  EXPECT_EQ(want[0].ids.size(), static_cast<std::size_t>(kCaseTokens));
  for (const int drafts : {1, 2, 4}) {
    Engine engine(model_, speculating(drafts));
    expect_equal(answers_of_cases(engine, /*together=*/drafts != 2), want,
                 std::to_string(drafts) + " drafts");
    const EngineStats stats = engine.stats();
    EXPECT_GT(sum(stats.accepted), 0);
    EXPECT_LT(sum(stats.accepted), sum(stats.drafted));
    EXPECT_EQ(stats.free_blocks, stats.num_blocks);
  }
}

TEST_P(SpeculativeDecoding, DoesNotChangeAnAnswerUnderAnyScheduleOfSteps) {
  const std::vector<Seen> want = without();
  for (const std::int64_t tokens : {5, 16, 100}) {
    EngineOptions options = speculating(tokens == 5 ? 1 : 3);
    options.max_num_batched_tokens = tokens;
    options.block_size = tokens == 16 ? 48 : 16;
    options.threads = tokens == 16 ? 2 : 1;
    Engine engine(model_, options);
    expect_equal(answers_of_cases(engine, true), want, std::to_string(tokens) + " tokens a step");
  }
}

TEST_P(SpeculativeDecoding, DoesNotChangeAnAnswerWhenPrefixesAreFound) {
  const std::vector<Seen> want = without();
  EngineOptions options = speculating(2);
  options.block_size = 16;
  Engine engine(model_, options);
  for (int round = 0; round < 2; ++round) expect_equal(answers_of_cases(engine, true), want, "hits");
  EXPECT_GT(engine.stats().prefix_hit_tokens, 0);
}

TEST_P(SpeculativeDecoding, DoesNotChangeAnAnswerWhenRequestsArePreempted) {
  EngineOptions options = speculating(2);
  options.block_size = 16;
  options.cache_dtype = CacheDType::kFp32;
  const std::vector<Seen> want = without(options);
  options.cache_bytes = 16 * 16 * LatentCache::bytes_per_token(model_->cache_layers(CacheType::kF32));
  Engine engine(model_, options);
  expect_equal(answers_of_cases(engine, true), want, "preemptions");
  EXPECT_GT(engine.stats().preemptions, 0);
  EXPECT_EQ(engine.stats().free_blocks, engine.stats().num_blocks);
}

// Requests of several priorities that come and go: what each got is the beginning of its answer alone.
TEST_P(SpeculativeDecoding, DoesNotChangeAnAnswerWhateverOthersDo) {
  EngineOptions options = speculating(3);
  options.block_size = 16;
  options.max_num_seqs = 6;
  options.max_num_batched_tokens = 48;
  options.cache_dtype = CacheDType::kFp16;
  const std::vector<Seen> want = without(options);
  options.cache_bytes = 16 * 16 * LatentCache::bytes_per_token(model_->cache_layers(CacheType::kF16));
  for (const std::uint64_t seed : {1, 2}) {
    Engine engine(model_, options);
    std::deque<CollectingSink> sinks(25);
    std::vector<std::size_t> kinds;
    Rng rng(seed);
    for (CollectingSink& sink : sinks) {
      kinds.push_back(static_cast<std::size_t>(rng.below(std::ssize(cases()))));
      const RequestId id = submit_case(engine, kinds.back(), sink);
      if (rng.below(5) == 0) engine.cancel(id - rng.below(3));
      if (rng.below(10) == 0) sink.wait();
    }
    for (std::size_t i = 0; i < sinks.size(); ++i) {
      const Seen got(sinks[i].wait());
      const Seen& whole = want[kinds[i]];
      if (got.reason != FinishReason::kCancelled) EXPECT_TRUE(got == whole) << cases()[kinds[i]].name;
      ASSERT_LE(got.ids.size(), whole.ids.size());
      EXPECT_TRUE(std::equal(got.ids.begin(), got.ids.end(), whole.ids.begin())) << cases()[kinds[i]].name;
    }
    EXPECT_EQ(engine.stats().free_blocks, engine.stats().num_blocks);
  }
}

TEST_P(SpeculativeDecoding, LeavesAMaskWithTheTokensOfTheAnswer) {
  Engine engine(model_, speculating(3));
  for (const float temperature : {0.0F, 0.9F}) {
    const auto told = std::make_shared<HashMask::Told>();
    Request request = request_of_case(0);
    request.sampling.temperature = temperature;
    request.mask = std::make_unique<HashMask>(told);
    CollectingSink sink;

    engine.submit(std::move(request), sink);

    EXPECT_EQ(sink.wait().ids, told->tokens);
    EXPECT_FALSE(told->wrong);
    EXPECT_GT(told->rolled_back, 0);
  }
}

// Drafts are as deterministic as answers, so one that was computed from something else shows as another
// count.
class DraftQuality : public SpeculativeDecoding {
 protected:
  struct Counts {
    std::int64_t drafted = 0, accepted = 0;
    bool operator==(const Counts&) const = default;
  };
  // Of one request that the engine answers alone.
  static Counts counts_of(Engine& engine, const std::vector<std::int32_t>& prompt, std::int64_t tokens,
                          std::int64_t* cached = nullptr, std::vector<std::int32_t>* answer = nullptr) {
    SamplingParams sampling;
    sampling.max_tokens = tokens;
    sampling.ignore_eos = true;
    const EngineStats before = engine.stats();
    CollectingSink sink;
    engine.submit(request_of(prompt, sampling), sink);
    sink.wait();
    if (cached != nullptr) *cached = sink.finish.usage.cached_tokens;
    if (answer != nullptr) *answer = sink.ids;
    const EngineStats after = engine.stats();
    return {sum(after.drafted) - sum(before.drafted), sum(after.accepted) - sum(before.accepted)};
  }
  static EngineOptions small_blocks() {
    EngineOptions options = speculating(1);
    options.block_size = 16;
    return options;
  }
};

TEST_P(DraftQuality, MostDraftsOfATextAreTheTokenThatComes) {
  Engine engine(model_, speculating(1));
  const Counts counts = counts_of(engine, text_tokens(0, 30), 60);
  EXPECT_GT(counts.accepted * 2, counts.drafted);
}

TEST_P(DraftQuality, DoesNotDependOnTheChunksOfThePrompt) {
  Engine whole(model_, small_blocks());
  const Counts want = counts_of(whole, text_tokens(0, 52), 40);
  for (const std::int64_t tokens : {3, 16, 33}) {
    EngineOptions options = small_blocks();
    options.max_num_batched_tokens = tokens;
    Engine engine(model_, options);
    EXPECT_EQ(counts_of(engine, text_tokens(0, 52), 40), want) << tokens;
  }
}

TEST_P(DraftQuality, IsTheSameBehindAPrefixThatWasFound) {
  Engine engine(model_, small_blocks());
  std::int64_t cached = 0;
  const Counts computed = counts_of(engine, text_tokens(0, 52), 40, &cached);
  EXPECT_EQ(cached, 0);
  EXPECT_EQ(counts_of(engine, text_tokens(0, 52), 40, &cached), computed);
  EXPECT_EQ(cached, 48);
}

// A request that ends in the step that computes its prompt leaves whole blocks too.
TEST_P(DraftQuality, IsTheSameBehindThePrefixOfAnAnswerOfOneToken) {
  EngineOptions options = small_blocks();
  Engine hit(model_, options), fresh(model_, options);
  counts_of(hit, text_tokens(0, 52), 1);
  std::int64_t cached = 0;
  EXPECT_EQ(counts_of(hit, text_tokens(0, 55), 40, &cached), counts_of(fresh, text_tokens(0, 55), 40));
  EXPECT_EQ(cached, 48);
}

TEST_P(DraftQuality, IsTheSameBehindAnAnswerThatIsAPrefixOfThePrompt) {
  Engine engine(model_, small_blocks());
  EngineOptions options = small_blocks();
  options.prefix_cache = false;
  Engine computes(model_, options);
  std::vector<std::int32_t> prompt = text_tokens(1, 20), answer;
  counts_of(engine, prompt, 30, nullptr, &answer);
  prompt.insert(prompt.end(), answer.begin(), answer.end());
  prompt.push_back(29);
  std::int64_t cached = 0;
  EXPECT_EQ(counts_of(engine, prompt, 40, &cached), counts_of(computes, prompt, 40));
  EXPECT_EQ(cached, 48);
}

// Where a draft is lost, with its blocks, nothing else is: the ratio stays.
TEST_P(DraftQuality, StaysWhenRequestsArePreempted) {
  EngineOptions options = small_blocks();
  const auto ratio = [&] {
    Engine engine(model_, options);
    std::deque<CollectingSink> sinks(6);
    SamplingParams sampling;
    sampling.max_tokens = 50;
    sampling.ignore_eos = true;
    for (CollectingSink& sink : sinks) engine.submit(request_of(text_tokens(0, 40), sampling), sink);
    for (CollectingSink& sink : sinks) sink.wait();
    const EngineStats stats = engine.stats();
    EXPECT_EQ(stats.preemptions > 0, options.cache_bytes > 0);
    return static_cast<double>(sum(stats.accepted)) / static_cast<double>(sum(stats.drafted));
  };
  const double quiet = ratio();
  options.prefix_cache = false;
  options.cache_dtype = CacheDType::kFp32;
  options.cache_bytes = 18 * 16 * LatentCache::bytes_per_token(model_->cache_layers(CacheType::kF32));
  EXPECT_NEAR(ratio(), quiet, 0.03);
}

const auto kMtpModels =
    testing::Values(MtpCase{"tiny_float", float_model_with_mtp}, MtpCase{"tiny_int8", int8_model_with_mtp});
const auto kMtpName = [](const auto& param) { return std::string(param.param.name); };
INSTANTIATE_TEST_SUITE_P(Models, SpeculativeDecoding, kMtpModels, kMtpName);
INSTANTIATE_TEST_SUITE_P(Models, DraftQuality, kMtpModels, kMtpName);

TEST(QuantisedMtpLayer, DoesNotChangeAnAnswerAndGuessesWell) {
  const auto model = quantised_model_with_mtp();
  const MtpWeights& mtp = *model->weights().mtp;
  ASSERT_EQ(mtp.layer.attention.o_proj.kind, Linear::Kind::kW8A8Static);
  ASSERT_TRUE(mtp.layer.attention.fa.has_value());
  Engine without(model, speculating(0));
  Engine with(model, speculating(3));

  expect_equal(answers_of_cases(with, true), answers_of_cases(without, true), "quantised");

  const EngineStats stats = with.stats();
  EXPECT_GT(stats.accepted[0] * 2, stats.drafted[0]);
}

TEST(SpeculativeOptions, AreNoneWithoutAnMtpLayer) {
  EngineOptions options = speculating(0);
  options.speculative = Speculative::kAuto;
  EXPECT_EQ(Engine(float_model(), options).info().max_speculative_tokens, 0);
  options.speculative = Speculative::kMtp;
  EXPECT_THROW(Engine(float_model(), options), Error);
}

TEST(SpeculativeOptions, RefuseArithmeticThatDependsOnTheStep) {
  const auto model = float_model_with_mtp();
  EngineOptions options = speculating(1);
  options.prefill = Prefill::kFloat;
  EXPECT_THROW(Engine(model, options), Error);
  options.speculative = Speculative::kAuto;
  EXPECT_EQ(Engine(model, options).info().max_speculative_tokens, 0);
  options.prefill = Prefill::kCached;
  options.num_speculative_tokens = 5;
  EXPECT_THROW(Engine(model, options), Error);
}

}  // namespace
}  // namespace latent8
