#pragma once
// Runs the steps that the scheduler plans: model, cache and threads.

#include <cstdint>
#include <memory>
#include <span>

#include "base/aligned_buffer.h"
#include "engine/scheduler.h"
#include "kv/latent_cache.h"
#include "model/deepseek_model.h"
#include "ops/context.h"
#include "sys/thread_pool.h"

namespace latent8 {

struct ExecutorOptions {
  AttentionOptions attention;
  CacheType cache_type = CacheType::kF16;  // of layers without FA scales
  int threads = 0;
  std::int64_t block_size = 128;
  std::int32_t num_blocks = 1;
  std::int64_t max_tokens = 1;       // of a step
  std::int64_t max_logits_rows = 1;  // sequences of a step
};

// Thread-safety: none; the engine thread's.
class Executor {
 public:
  Executor(std::shared_ptr<const DeepseekModel> model, const ExecutorOptions& options);

  // One step. Writes the chunks' latents into their blocks and returns logits [R, vocab_size], a row for
  // every chunk that completes its sequence, in order; valid until the next call.
  ConstMat<float> run(std::span<const Chunk> chunks);

  ThreadPool& pool() { return pool_; }
  std::span<const std::int64_t> clipped_codes() const { return scratch_.clipped_per_layer; }
  const LatentCache& cache() const { return cache_; }

 private:
  std::shared_ptr<const DeepseekModel> model_;  // shared: see Engine
  AttentionOptions attention_;
  ThreadPool pool_;
  OpContext ctx_;
  LatentCache cache_;
  Scratch scratch_;
  StepBatch step_;
  Matrix<float> hidden_;       // [max_tokens, hidden_size]
  Matrix<float> last_hidden_;  // [max_logits_rows, hidden_size] rows whose logits are wanted
  Matrix<float> logits_;       // [max_logits_rows, vocab_size]
};

// The model's cache layers without the MTP layer's.
std::vector<LatentCache::Layer> main_cache_layers(const DeepseekModel& model, CacheType cache_type);

}  // namespace latent8
