#pragma once
// Runs steps of a model: the one place where cache, buffers, forward pass and logits come together.

#include <cstdint>
#include <functional>

#include "kv/latent_cache.h"
#include "model/deepseek_model.h"
#include "model/step_plan.h"

namespace latent8 {

struct StepRunnerOptions {
  AttentionOptions attention;
  CacheType float_cache = CacheType::kF32;  // of layers without FA scales
  std::int64_t block_size = 128;
  std::int32_t num_blocks = 1;
  std::int64_t max_tokens = 1;        // of a step
  std::int64_t max_logits_rows = 64;  // that exist at one time: [rows, vocab_size] of float
};

// Takes rows [first_row, first_row + logits.rows) of a step's logits, all sequences' one after the other; called
// in order, with at most max_logits_rows at a time. logits [rows, vocab_size], valid during the call.
using TakeLogits = std::function<void(std::int64_t first_row, ConstMat<float> logits)>;

// Owns the cache and everything that a step works in; who has which blocks is the caller's.
// Ownership: refers to model and ctx, which must outlive it. Thread-safety: none; belongs to ctx's thread.
class StepRunner {
 public:
  StepRunner(const DeepseekModel& model, OpContext& ctx, const StepRunnerOptions& options);

  // Writes the tokens' latents into the cache. The result is valid until the next call.
  // REQUIRES: 1 to max_tokens tokens, ids below vocab_size, blocks below num_blocks; kMtp: model.has_mtp(), and
  // hidden_rows that the step before has kept.
  StepResult run(const StepPlan& plan, const TakeLogits& take_logits = {});

  LatentCache& cache() { return cache_; }
  std::int64_t vocab_size() const { return logits_.cols(); }

  // Bytes of its own buffers, without cache and Scratch; see step_buffer_bytes().
  static std::int64_t buffer_bytes(const DeepseekModel& model, const StepRunnerOptions& options);

 private:
  void fill_batch(const StepPlan& plan);
  void forward(const StepPlan& plan);
  void compute_logits(const StepPlan& plan, const TakeLogits& take_logits);
  void keep_hidden(const StepPlan& plan);

  const DeepseekModel& model_;
  OpContext& ctx_;
  StepRunnerOptions options_;
  LatentCache cache_;
  Scratch scratch_;
  StepBatch batch_;
  Matrix<float> hidden_;         // [max_tokens, hidden_size] of the step, then of the rows that are kept
  std::int64_t kept_ = 0;        // rows of hidden_ that the last step has kept
  Matrix<float> mtp_input_;      // [max_tokens, hidden_size] if there is an MTP layer
  Matrix<float> logits_hidden_;  // [max_logits_rows, hidden_size]
  Matrix<float> logits_;         // [max_logits_rows, vocab_size]
};


}  // namespace latent8
