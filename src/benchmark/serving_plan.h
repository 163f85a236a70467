#pragma once
// What it takes to serve a model on a machine, and what that machine allows: computed, nothing is run.

#include <cstdint>

#include "benchmark/machine_limits.h"
#include "kernels/latent_layout.h"
#include "model/deepseek_model.h"

namespace latent8 {

struct ServingGoal {
  std::int64_t memory = 0;   // bytes for weights, latent cache and step buffers
  std::int64_t context = 0;  // tokens of a sequence
  std::int64_t block_size = 128;
  std::int64_t max_num_batched_tokens = 512, max_num_seqs = 16;
  int threads = 1;
};

struct CachePlan {
  CacheType type = CacheType::kInt8;
  std::int64_t bytes_per_token = 0;     // over all layers, the MTP layer's included if there is one
  std::int64_t bytes_per_sequence = 0;  // of `context` tokens, in whole blocks
  std::int64_t sequences = 0;           // that fit beside weights and step buffers
};

struct ServingPlan {
  std::int64_t weights = 0, step_buffers = 0;
  std::int64_t left = 0;  // for the cache; 0 where weights and buffers alone are too much
  CachePlan int8, fp16;
};

// weight_bytes: as stored. The cache of every layer counts in both forms, whatever the model has.
ServingPlan plan_serving(const DeepseekModel& model, std::int64_t weight_bytes, const ServingGoal& goal);

// Tokens per second that the limits allow: of all `sequences` together, each decoding after `depth` tokens.
double decode_rate_limit(const DeepseekModel& model, CacheType cache, std::int64_t sequences,
                         std::int64_t depth, const MachineLimits& limits);
// Seconds that a prompt takes at least, in chunks of `chunk` tokens.
double prefill_seconds_limit(const DeepseekModel& model, CacheType cache, std::int64_t prompt,
                             std::int64_t chunk, const MachineLimits& limits);

}  // namespace latent8
