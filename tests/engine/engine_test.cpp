// The engine as its callers see it: answers, ends, errors, figures.
#include "latent8/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include "engine/engine_models.h"
#include "latent8/version.h"
#include "support/errors.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

EngineOptions small_options() {
  EngineOptions options;
  options.threads = 1;
  options.max_model_len = 256;
  options.max_num_seqs = 4;
  return options;
}

SamplingParams tokens(std::int64_t max_tokens) {
  SamplingParams sampling;
  sampling.max_tokens = max_tokens;
  sampling.ignore_eos = true;
  return sampling;
}

TEST(Version, IsThatOfTheBuild) {
  std::ifstream cmake(std::string(LATENT8_SOURCE_DIR) + "/CMakeLists.txt");
  const std::string text((std::istreambuf_iterator<char>(cmake)), {});

  EXPECT_NE(text.find("VERSION " + std::string(kVersion) + " "), std::string::npos);
}

TEST(Engine, EndsWithLengthAfterMaxTokens) {
  Engine engine(float_model(), small_options());
  CollectingSink sink;

  engine.submit(request_of(random_prompt(9, 1), tokens(5)), sink);
  sink.wait();

  EXPECT_EQ(sink.finish.reason, FinishReason::kLength);
  EXPECT_EQ(sink.ids.size(), 5U);
  EXPECT_EQ(sink.finish.usage.prompt_tokens, 9);
  EXPECT_EQ(sink.finish.usage.completion_tokens, 5);
}

TEST(Engine, FillsTheContextWhenNoMaxTokensIsGiven) {
  EngineOptions options = small_options();
  options.max_model_len = 40;
  Engine engine(float_model(), options);
  CollectingSink sink;

  engine.submit(request_of(random_prompt(30, 1), tokens(0)), sink);
  sink.wait();

  EXPECT_EQ(sink.finish.reason, FinishReason::kLength);
  EXPECT_EQ(sink.ids.size(), 10U);
}

TEST(Engine, StopsAtAStopToken) {
  Engine engine(float_model(), small_options());
  CollectingSink all, stopped;
  engine.submit(request_of(random_prompt(9, 2), tokens(6)), all);
  all.wait();
  SamplingParams sampling = tokens(6);
  sampling.stop_token_ids = {all.ids[3]};

  engine.submit(request_of(random_prompt(9, 2), sampling), stopped);
  stopped.wait();

  EXPECT_EQ(stopped.finish.reason, FinishReason::kStop);
  EXPECT_EQ(stopped.ids.back(), all.ids[3]);
  EXPECT_LE(stopped.ids.size(), 4U);
}

TEST(Engine, StopsWhenTheSinkWantsNoMore) {
  Engine engine(float_model(), small_options());
  CollectingSink sink;
  sink.each_token = [](CollectingSink& s) { return s.ids.size() < 3; };

  engine.submit(request_of(random_prompt(9, 3), tokens(50)), sink);
  sink.wait();

  EXPECT_EQ(sink.finish.reason, FinishReason::kStop);
  EXPECT_EQ(sink.ids.size(), 3U);
}

TEST(Engine, CancelsARunningRequest) {
  Engine engine(float_model(), small_options());
  CollectingSink sink;
  RequestId id = 0;
  std::promise<RequestId> known;
  auto future = known.get_future();
  sink.each_token = [&](CollectingSink& s) {
    if (s.ids.size() == 1) engine.cancel(future.get());
    return true;
  };

  id = engine.submit(request_of(random_prompt(9, 4), tokens(200)), sink);
  known.set_value(id);
  sink.wait();

  EXPECT_EQ(sink.finish.reason, FinishReason::kCancelled);
  EXPECT_LT(sink.ids.size(), 200U);
  EXPECT_EQ(engine.stats().free_blocks, engine.stats().num_blocks);
}

TEST(Engine, CancelsWhatIsLeftWhenItIsDestroyed) {
  CollectingSink sinks[6];
  {
    Engine engine(float_model(), small_options());
    for (CollectingSink& sink : sinks) engine.submit(request_of(random_prompt(9, 5), tokens(0)), sink);
  }

  for (const CollectingSink& sink : sinks) {
    EXPECT_EQ(sink.finishes, 1);
    EXPECT_EQ(sink.finish.reason, FinishReason::kCancelled);
  }
}

// Submits again whenever a request ends, `left` times.
class ResubmittingSink : public TokenSink {
 public:
  ResubmittingSink(Engine& engine, int left) : engine_(engine), left_(left) {}
  bool on_token(const SampledToken&) noexcept override { return true; }
  void on_finish(const Finish& finish) noexcept override {
    reasons.push_back(finish.reason);
    if (left_-- > 0) engine_.submit(request_of(random_prompt(9, 5), tokens(0)), *this);
  }
  std::vector<FinishReason> reasons;

 private:
  Engine& engine_;
  int left_;
};

TEST(Engine, EndsWhatSinksSubmitWhileItIsDestroyed) {
  auto engine = std::make_unique<Engine>(float_model(), small_options());
  ResubmittingSink sink(*engine, 3);
  engine->submit(request_of(random_prompt(9, 5), tokens(0)), sink);

  engine.reset();

  EXPECT_EQ(sink.reasons, std::vector<FinishReason>(4, FinishReason::kCancelled));
}

TEST(Engine, RefusesMoreRequestsThanMayWait) {
  EngineOptions options = small_options();
  options.max_num_seqs = 1;
  options.max_waiting = 2;
  CollectingSink sinks[8];
  Engine engine(float_model(), options);  // ends before its sinks
  int refused = 0;

  for (CollectingSink& sink : sinks) try {
      engine.submit(request_of(random_prompt(9, 5), tokens(200)), sink);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
      EXPECT_NE(std::string(error.what()).find("queue is full: 2 requests wait"), std::string::npos);
      ++refused;
    }

  EXPECT_GE(refused, 4);  // one runs, two wait; one may have finished between
  EXPECT_LE(engine.stats().waiting, 2);
}

// Their prompts are not computed from the cache alone.
TEST(Engine, HasNoPrefixCacheForTheReferencesNumericsOrAFloatPrefill) {
  std::vector<EngineOptions> all(3, small_options());
  all[0].numerics = Numerics::kAscend;
  all[1].prefill = Prefill::kFloat;
  all[2].prefix_cache = false;

  for (EngineOptions& options : all) {
    options.block_size = 16;
    Engine engine(int8_model(), options);
    CollectingSink first, second;
    engine.submit(request_of(random_prompt(60, 11), tokens(2)), first);
    first.wait();
    engine.submit(request_of(random_prompt(60, 11), tokens(2)), second);
    EXPECT_EQ(second.wait().finish.usage.cached_tokens, 0);
    EXPECT_EQ(second.ids, first.ids);
  }
}

TEST(Engine, TakesRequestsFromManyThreads) {
  Engine engine(float_model(), small_options());
  CollectingSink sinks[8];
  std::vector<std::thread> threads;

  for (CollectingSink& sink : sinks)
    threads.emplace_back([&] { engine.submit(request_of(random_prompt(20, 6), tokens(4)), sink); });
  for (std::thread& thread : threads) thread.join();

  for (CollectingSink& sink : sinks) EXPECT_EQ(sink.wait().ids, sinks[0].wait().ids);
}

TEST(Engine, CountsTokensAndReturnsEveryBlock) {
  Engine engine(float_model(), small_options());
  CollectingSink a, b;

  engine.submit(request_of(random_prompt(150, 7), tokens(3)), a);
  engine.submit(request_of(random_prompt(20, 8), tokens(4)), b);
  a.wait();
  b.wait();

  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.prefill_tokens, 170);
  EXPECT_EQ(stats.generated_tokens, 7);
  EXPECT_EQ(stats.free_blocks, stats.num_blocks);
  EXPECT_EQ(stats.running + stats.waiting, 0);
  EXPECT_EQ(stats.clipped_codes.size(), 5U);
}

TEST(Engine, RefusesAPromptThatFillsTheContext) {
  Engine engine(float_model(), small_options());
  CollectingSink sink;

  const std::string message = error_of(ErrorCode::kInvalidArgument, [&] {
    engine.submit(request_of(random_prompt(256, 1), tokens(1)), sink);
  });

  EXPECT_NE(message.find("at most 255 tokens expected"), std::string::npos) << message;
  EXPECT_NE(message.find("got 256"), std::string::npos) << message;
}

TEST(Engine, RefusesAPromptThatTheCacheCannotHold) {
  EngineOptions options = small_options();
  options.block_size = 16;
  options.cache_bytes = 4 * kBlockBytes16;
  Engine engine(float_model(), options);
  CollectingSink sink;

  const std::string message = error_of(
      ErrorCode::kInvalidArgument, [&] { engine.submit(request_of(random_prompt(64, 1), tokens(1)), sink); });

  EXPECT_NE(message.find("cache holds 64"), std::string::npos) << message;
}

TEST(Engine, RefusesTokenIdsOutOfRange) {
  Engine engine(float_model(), small_options());
  CollectingSink sink;

  for (const std::int32_t id : {-1, 4096})
    error_of(ErrorCode::kInvalidArgument, [&] { engine.submit(request_of({0, id}, tokens(1)), sink); });
}

TEST(Engine, RefusesAnEmptyPrompt) {
  Engine engine(float_model(), small_options());
  CollectingSink sink;

  error_of(ErrorCode::kInvalidArgument, [&] { engine.submit(request_of({}, tokens(1)), sink); });
}

TEST(Engine, RefusesSamplingParametersOutOfRange) {
  Engine engine(float_model(), small_options());
  CollectingSink sink;
  std::vector<SamplingParams> bad(10);
  bad[0].temperature = -1.0F;
  bad[1].top_p = 0.0F;
  bad[2].top_k = -1;
  bad[3].min_p = 1.0F;
  bad[4].max_tokens = -1;
  bad[5].repetition_penalty = 0.0F;
  bad[6].min_tokens = -1;
  bad[7].logit_bias = {{4096, 1.0F}};
  bad[8].logit_bias = {{1, std::nanf("")}};
  bad[9].stop_token_ids = {4096};

  for (const SamplingParams& sampling : bad)
    error_of(ErrorCode::kInvalidArgument, [&] { engine.submit(request_of({0, 5}, sampling), sink); });
}

TEST(Engine, RefusesOptionsOutOfRange) {
  std::vector<EngineOptions> bad(4);
  bad[0].block_size = 24;
  bad[1].max_num_seqs = 0;
  bad[2].max_model_len = 8193;
  bad[3].max_num_batched_tokens = 0;

  for (const EngineOptions& options : bad)
    error_of(ErrorCode::kInvalidArgument, [&] { Engine(float_model(), options); });
}

TEST(Engine, RefusesACacheLargerThanTheMemory) {
  EngineOptions options;
  options.cache_bytes = std::int64_t{1} << 60;
  options.max_num_seqs = std::int64_t{1} << 40;

  error_of(ErrorCode::kUnavailable, [&] { Engine(float_model(), options); });
}

TEST(Engine, RefusesACacheThatLeavesNoMemoryForStepBuffers) {
  EngineOptions options;
  options.cache_bytes = memory_info().available_bytes - (std::int64_t{256} << 20);
  options.max_num_seqs = std::int64_t{1} << 20;
  options.max_num_batched_tokens = std::int64_t{1} << 16;  // 2 GiB and more

  const std::string message = error_of(ErrorCode::kUnavailable, [&] { Engine(float_model(), options); });

  EXPECT_NE(message.find("step buffers of"), std::string::npos) << message;
  EXPECT_NE(message.find("smaller cache_bytes, max_num_batched_tokens"), std::string::npos) << message;
}

TEST(Engine, CountsStepBuffersInItsMemory) {
  EngineOptions few = small_options(), many = small_options();
  few.max_num_batched_tokens = 16;
  many.max_num_batched_tokens = 4096;

  const std::int64_t small = Engine(float_model(), few).info().step_buffer_bytes;

  EXPECT_GT(Engine(float_model(), many).info().step_buffer_bytes, 50 * small);
}

// Allows one token only, and notes what it is told.
class OnlyToken : public MaskProvider {
 public:
  OnlyToken(std::int32_t id, std::vector<std::int32_t>& accepted) : id_(id), accepted_(accepted) {}
  void restrict(std::span<std::uint64_t> bits) noexcept override {
    std::fill(bits.begin(), bits.end(), 0);
    if (id_ >= 0) bits[static_cast<std::size_t>(id_ / 64)] = std::uint64_t{1} << (id_ % 64);
  }
  void accept(std::int32_t token) noexcept override { accepted_.push_back(token); }
  void rollback(std::int64_t count) noexcept override {
    accepted_.resize(accepted_.size() - static_cast<std::size_t>(count));
  }

 private:
  std::int32_t id_;
  std::vector<std::int32_t>& accepted_;
};

TEST(Engine, ChoosesOnlyTokensThatTheMaskAllows) {
  Engine engine(float_model(), small_options());
  CollectingSink sink;
  std::vector<std::int32_t> accepted;
  Request request = request_of(random_prompt(9, 9), tokens(3));
  request.mask = std::make_unique<OnlyToken>(777, accepted);

  engine.submit(std::move(request), sink);
  sink.wait();

  EXPECT_EQ(sink.ids, (std::vector<std::int32_t>{777, 777, 777}));
  EXPECT_EQ(accepted, sink.ids);
}

TEST(Engine, EndsWithAnErrorWhenTheMaskAllowsNothing) {
  Engine engine(float_model(), small_options());
  CollectingSink sink;
  std::vector<std::int32_t> accepted;
  Request request = request_of(random_prompt(9, 9), tokens(3));
  request.mask = std::make_unique<OnlyToken>(-1, accepted);

  engine.submit(std::move(request), sink);
  sink.wait();

  EXPECT_EQ(sink.finish.reason, FinishReason::kError);
  EXPECT_NE(sink.finish.message.find("mask"), std::string::npos);
}

TEST(Engine, EndsWithAnErrorWhenLogitsAreNotFinite) {
  ModelWeights weights = load_weights(float_model()->weights().checkpoint, {.load_mtp = false});
  const std::vector<float> nan(static_cast<std::size_t>(weights.config.hidden_size), std::nanf(""));
  weights.norm.weight = nan;
  Engine engine(std::make_shared<const DeepseekModel>(std::move(weights)), small_options());
  CollectingSink first, second;

  engine.submit(request_of(random_prompt(9, 1), tokens(3)), first);
  first.wait();
  engine.submit(request_of(random_prompt(9, 1), tokens(3)), second);
  second.wait();

  for (const CollectingSink* sink : {&first, &second}) {
    EXPECT_EQ(sink->finish.reason, FinishReason::kError);
    EXPECT_NE(sink->finish.message.find("finite"), std::string::npos) << sink->finish.message;
  }
}

TEST(Engine, RefusesInt8CachesWithoutNz) {
  EngineOptions options = small_options();
  options.enable_nz = false;

  const std::string message = error_of(ErrorCode::kInvalidArgument, [&] { Engine(int8_model(), options); });

  EXPECT_NE(message.find("llm.kv_cache_options.enable_nz"), std::string::npos) << message;
}

TEST(Engine, TakesAFloatCacheWithoutNz) {
  EngineOptions options = small_options();
  options.enable_nz = false;

  EXPECT_NO_THROW(Engine(float_model(), options));
}

TEST(Engine, AnswersInTheNumericsOfTheReference) {
  EngineOptions options = small_options();
  options.numerics = Numerics::kAscend;
  Engine engine(int8_model(), options);
  CollectingSink sink;

  engine.submit(request_of(random_prompt(150, 11), tokens(5)), sink);
  sink.wait();

  EXPECT_EQ(sink.finish.reason, FinishReason::kLength) << sink.finish.message;
  EXPECT_EQ(sink.ids.size(), 5U);
}

TEST(Engine, AnswersWithAFloatPrefill) {
  EngineOptions options = small_options();
  options.prefill = Prefill::kFloat;
  options.max_num_batched_tokens = 64;
  Engine engine(int8_model(), options);
  CollectingSink sink;

  engine.submit(request_of(random_prompt(150, 11), tokens(5)), sink);
  sink.wait();

  EXPECT_EQ(sink.ids.size(), 5U) << sink.finish.message;
}

// A description that calls everything FLOAT quantises nothing.
TEST(Engine, KeepsAnFp32CacheWhereADescriptionQuantisesNothing) {
  QuantDescription description;
  description.add("model.norm.weight", QuantType::kFloat);
  ModelWeights weights = load_weights(float_model()->weights().checkpoint, {.load_mtp = false});
  weights.checkpoint =
      std::make_shared<const Checkpoint>(Checkpoint::of_tensors(weights.config, {}, description));

  const Engine engine(std::make_shared<const DeepseekModel>(std::move(weights)), small_options());

  EXPECT_EQ(engine.info().cache_bytes_per_token, 5 * (512 + 64) * 4);
}

TEST(Engine, HasACacheForTheMtpLayerThatItLoads) {
  const std::string dir = std::string(LATENT8_SOURCE_DIR) + "/models/tiny-r1";

  const Engine engine = Engine::load(dir, small_options(), {.load_mtp = true});

  EXPECT_EQ(engine.info().cache_bytes_per_token, 6 * (512 + 64) * 4);
}

TEST(Engine, CountsTheBytesOfTheCachePerToken) {
  EXPECT_EQ(Engine(float_model(), small_options()).info().cache_bytes_per_token, 5 * (512 + 64) * 4);
  EXPECT_EQ(Engine(int8_model(), small_options()).info().cache_bytes_per_token, 5 * (512 + 64 * 2));
}

}  // namespace
}  // namespace latent8
