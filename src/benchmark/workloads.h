#pragma once
// The measured pieces of work: steps of a whole model, and its kernels alone.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "benchmark/cost.h"
#include "benchmark/machine_limits.h"
#include "model/deepseek_model.h"
#include "ops/context.h"

namespace latent8 {

// One line of the result. percent_of_limit is filled in once the limits are final.
struct BenchRow {
  std::string work;  // "prefill", "decode", "attention", "gemm"
  std::string shape;
  std::int64_t layers = 0, prompt = 0, depth = 0, batch = 0;
  double tok_per_s = 0;
  double ms = 0;      // median of one step
  double spread = 0;  // (largest - smallest) / median
  std::vector<OperatorCost> operators;
  double bytes() const;
  double int8_macs() const;
  double fp32_macs() const;
  double percent_of_limit(const MachineLimits& limits) const;
};

struct BenchOptions {
  int repeats = 7;           // at least this many steps are timed after one that is not
  double least_seconds = 1;  // and at least for this long
  std::int64_t block_size = 128;
  CacheType float_cache = CacheType::kF16;
  AttentionOptions attention;
  std::int64_t prompt_before_decode = 0;  // tokens of a prompt that runs in the same buffers first, not timed
};

// A prompt of `prompt` tokens in one step.
BenchRow bench_prefill(OpContext& ctx, const DeepseekModel& model, std::int64_t prompt,
                       const BenchOptions& options);
// `batch` sequences of `depth` cached tokens (random latents) decode one token each.
BenchRow bench_decode(OpContext& ctx, const DeepseekModel& model, std::int64_t depth, std::int64_t batch,
                      const BenchOptions& options);
// Decode attention of one layer alone: every step walks over another sequence, over all more than twice the
// last-level cache.
BenchRow bench_attention(OpContext& ctx, const ModelConfig& config, CacheType cache, std::int64_t depth,
                         std::int64_t batch, const BenchOptions& options);
// One int8 linear [n, k] of `rows` rows; weights rotate over more than twice the last-level cache.
BenchRow bench_gemm(OpContext& ctx, const std::string& name, std::int64_t n, std::int64_t k,
                    std::int64_t rows, const BenchOptions& options);

}  // namespace latent8
