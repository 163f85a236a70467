#pragma once
// The engine: a loaded model that answers many requests at once.

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "latent8/numerics.h"
#include "latent8/request.h"

namespace latent8 {

class Checkpoint;
class DeepseekModel;

inline constexpr int kMaxSpeculativeTokens = 4;

struct EngineOptions {
  Numerics numerics = Numerics::kNative;
  Prefill prefill = Prefill::kCached;
  CacheDType cache_dtype = CacheDType::kAuto;
  int threads = 0;                // 0: one per physical core of the affinity mask
  std::int64_t block_size = 128;  // tokens; a multiple of 16 from 16 to 128
  std::int64_t max_num_seqs = 16;
  std::int64_t max_num_batched_tokens = 512;  // tokens of one step: decodes first, the rest chunks of prompts
  double max_stream_gap_s = 0.5;              // what a step with decodes may take beside prompts; 0: any time
  std::int64_t max_model_len = 0;             // prompt and answer of one request; 0: max_position_embeddings
  std::int64_t cache_bytes = 0;  // 0: from the free memory, at most max_num_seqs * max_model_len tokens
  bool prefix_cache =
      true;  // latents of prompts that begin alike are computed once; kNative and kCached only
  std::int64_t max_waiting = 0;  // requests that may wait; 0: any number
  bool enable_nz = true;         // false with int8 cache layers is refused, as the reference does
  Speculative speculative = Speculative::kAuto;  // kMtp: what cannot be is an error
  int num_speculative_tokens = 0;  // of a sequence in a step, 1 to 4; 0: as many as pay, which may be none
};

// How a checkpoint becomes a model.
struct ModelOptions {
  bool accept_unit_scales = false;     // FA scales that are all 1.0 are an error otherwise
  bool copy_weights = false;           // into huge pages, instead of using them where the file is mapped
  bool load_mtp = false;               // the MTP layer, where the checkpoint has one, with its cache; with
                                       // EngineOptions::speculative it is loaded anyway
  bool ignore_unread_tensors = false;  // tensors that the model does not read are an error otherwise
};

struct EngineStats {
  std::int64_t running = 0;
  std::int64_t waiting = 0;
  std::int64_t free_blocks = 0;
  std::int64_t num_blocks = 0;
  std::int64_t steps = 0;
  std::int64_t prefill_tokens = 0;  // prompt tokens computed, those computed again after preemption too
  std::int64_t generated_tokens = 0;
  std::int64_t preemptions = 0;
  std::int64_t prefix_query_tokens = 0;     // of admitted sequences
  std::int64_t prefix_hit_tokens = 0;       // of these, found in the prefix cache
  std::vector<std::int64_t> clipped_codes;  // [num_hidden_layers] latent codes beyond [-128, 127]
  std::int64_t answer_steps = 0;  // steps that gave a sequence one or more tokens, summed over sequences
  // Drafts by their place behind the answer: computed, and of these the token that came.
  std::array<std::int64_t, kMaxSpeculativeTokens> drafted{}, accepted{};
};

// What the options came to.
struct EngineInfo {
  int threads = 0;
  std::int64_t vocab_size = 0;
  std::int64_t block_size = 0;
  std::int64_t num_blocks = 0;
  std::int64_t max_model_len = 0;          // tokens of prompt and answer: context or whole cache, the smaller
  std::int64_t cache_bytes_per_token = 0;  // over all layers
  std::int64_t step_buffer_bytes = 0;      // what steps work in, at most
  int max_speculative_tokens = 0;          // 0: tokens are not guessed
  std::vector<std::int32_t> eos_token_ids;  // of the model
};

// Continuous batching over a paged latent cache: one thread of its own runs the model steps.
// Thread-safety: submit, cancel, stats and info may be called from any thread, on_token and on_finish of a
// sink too. Ownership: sinks are the caller's and must live until on_finish, which comes for every request,
// at the latest when the engine is destroyed: the destructor ends what is left with kCancelled, and so what a
// sink submits in answer to that.
class Engine {
 public:
  // Throws: Error for a checkpoint or options that cannot be used, {kUnavailable} if the memory does not hold
  // cache and step buffers.
  static Engine load(const std::filesystem::path& checkpoint_dir, const EngineOptions& options = {},
                     const ModelOptions& model_options = {});
  // The same for a checkpoint that is open. shared: the model maps its files as long as it lives.
  static Engine load(std::shared_ptr<const Checkpoint> checkpoint, const EngineOptions& options = {},
                     const ModelOptions& model_options = {});
  // shared: the caller may read the same model (the evaluation compares two engines on one).
  explicit Engine(std::shared_ptr<const DeepseekModel> model, const EngineOptions& options = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  // Throws: Error{kInvalidArgument} for an empty prompt, one that the context or the cache cannot hold, a
  // token id out of range, or sampling parameters out of range; {kUnavailable} if max_waiting requests wait.
  RequestId submit(Request request, TokenSink& sink);
  // What submit() would refuse of the request itself. Throws: as submit().
  void check(const Request& request) const;
  // Ends a request with kCancelled before its next step; nothing happens if it has finished.
  void cancel(RequestId id);

  EngineStats stats() const;
  const EngineInfo& info() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace latent8
