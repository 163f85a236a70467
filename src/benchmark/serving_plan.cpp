#include "benchmark/serving_plan.h"

#include <algorithm>

#include "benchmark/cost.h"
#include "model/step_memory.h"

namespace latent8 {
namespace {

CachePlan plan_cache(const DeepseekModel& model, CacheType type, const ServingGoal& goal, std::int64_t left) {
  const ModelConfig& c = model.config();
  const LatentLayout layout{type, c.kv_lora_rank, c.qk_rope_head_dim};
  const auto layers = static_cast<std::int64_t>(model.cache_layers(type).size());
  const std::int64_t blocks = (goal.context + goal.block_size - 1) / goal.block_size;
  CachePlan out{.type = type, .bytes_per_token = layers * layout.bytes_per_token()};
  out.bytes_per_sequence = blocks * goal.block_size * out.bytes_per_token;
  out.sequences = left / out.bytes_per_sequence;
  return out;
}

}  // namespace

ServingPlan plan_serving(const DeepseekModel& model, std::int64_t weight_bytes, const ServingGoal& goal) {
  const StepRunnerOptions step{.block_size = goal.block_size,
                               .max_tokens = goal.max_num_batched_tokens,
                               .max_logits_rows = std::min(goal.max_num_seqs, goal.max_num_batched_tokens)};
  ServingPlan out{.weights = weight_bytes,
                  .step_buffers = step_buffer_bytes(model, step, goal.threads, goal.context)};
  out.left = std::max<std::int64_t>(goal.memory - out.weights - out.step_buffers, 0);
  out.int8 = plan_cache(model, CacheType::kInt8, goal, out.left);
  out.fp16 = plan_cache(model, CacheType::kF16, goal, out.left);
  return out;
}

double decode_rate_limit(const DeepseekModel& model, CacheType cache, std::int64_t sequences,
                         std::int64_t depth, const MachineLimits& limits) {
  const double seconds = least_seconds(step_cost(model.weights(), sequences, 1, depth, cache), limits);
  return static_cast<double>(sequences) / seconds;
}

double prefill_seconds_limit(const DeepseekModel& model, CacheType cache, std::int64_t prompt,
                             std::int64_t chunk, const MachineLimits& limits) {
  double seconds = 0.0;
  for (std::int64_t depth = 0; depth < prompt; depth += chunk)
    seconds +=
        least_seconds(step_cost(model.weights(), 1, std::min(chunk, prompt - depth), depth, cache), limits);
  return seconds;
}

}  // namespace latent8
