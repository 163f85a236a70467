#include "benchmark/workloads.h"

#include <gtest/gtest.h>

#include "benchmark/random_model.h"
#include "model/shapes.h"

namespace latent8 {
namespace {

// A dense layer and an MoE layer of a known shape.
std::unique_ptr<DeepseekModel> two_layers(ThreadPool& pool) {
  ModelConfig config = *shape_config("v2-lite");
  config.num_hidden_layers = 2;
  config.n_routed_experts = 6;
  config.vocab_size = 64;
  return random_model(pool, config, /*int8_cache=*/true);
}

// What a prompt leaves in the buffers is part of what a decode costs: it must be able to run first, also
// where it is longer than the cached depth and the batch.
TEST(Workloads, DecodeAfterAPromptThatIsLongerThanDepthAndBatch) {
  ThreadPool pool(1);
  OpContext ctx(pool);
  const auto model = two_layers(pool);
  const BenchOptions options{.repeats = 1, .least_seconds = 0, .prompt_before_decode = 200};

  const BenchRow row = bench_decode(ctx, *model, 0, 3, options);

  EXPECT_EQ(row.batch, 3);
  EXPECT_EQ(row.depth, 0);
  EXPECT_GT(row.tok_per_s, 0.0);
}

TEST(Workloads, PrefillHasTheCostOfItsTokens) {
  ThreadPool pool(1);
  OpContext ctx(pool);
  const auto model = two_layers(pool);
  const BenchOptions options{.repeats = 1, .least_seconds = 0};

  const BenchRow few = bench_prefill(ctx, *model, 8, options), many = bench_prefill(ctx, *model, 80, options);

  EXPECT_GT(many.int8_macs(), 9.0 * few.int8_macs());
}

}  // namespace
}  // namespace latent8
