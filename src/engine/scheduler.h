#pragma once
// Which tokens of which sequences the next step computes.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "kv/block_pool.h"

namespace latent8 {

struct SchedulerLimits {
  std::int64_t max_num_seqs = 1;            // running at once
  std::int64_t max_num_batched_tokens = 1;  // of one step
  std::int64_t block_size = 128;
  std::int32_t num_blocks = 1;
};

// The next `tokens` tokens of a sequence.
struct Chunk {
  Sequence* seq = nullptr;
  std::int64_t tokens = 0;
  bool prompt = false;  // see Sequence::in_prefill

  // Whether the step computes the sequence's last token, so that its logits give the next one.
  bool completes() const { return tokens == seq->remaining(); }
};

// Continuous batching with chunked prefill. First come, first served within a priority. A sequence is
// admitted when blocks for all its tokens are free; when blocks run out, the sequence of the lowest priority
// that came last gives its blocks back and waits to be computed again. The first of the running sequences is
// never preempted, so every sequence that fits the cache alone finishes.
// Thread-safety: none; the engine thread's.
// Invariant: free blocks + blocks of running sequences = num_blocks; waiting sequences hold none.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // REQUIRES: token_limit of the sequence <= num_blocks * block_size.
  void add(std::unique_ptr<Sequence> seq);
  // The sequence, taken out and without blocks; nullptr if there is none of this id.
  std::unique_ptr<Sequence> remove(RequestId id);
  std::vector<std::unique_ptr<Sequence>> remove_all();

  // The next step: decodes first, the rest of max_num_batched_tokens for chunks of prompts, in the order of
  // running(). Blocks for its tokens are reserved. Empty if there is nothing to run. Valid until the next
  // call of a non-const method.
  std::span<const Chunk> schedule();

  bool idle() const { return running_.empty() && waiting_.empty(); }
  std::span<const std::unique_ptr<Sequence>> running() const { return running_; }
  std::span<const std::unique_ptr<Sequence>> waiting() const { return waiting_; }
  std::int64_t free_blocks() const { return pool_.free_blocks(); }
  std::int64_t preemptions() const { return preemptions_; }

 private:
  bool plan_running(std::int64_t& budget);
  bool reserve_or_preempt(std::size_t index);
  void preempt_last();
  void admit(std::int64_t budget);

  SchedulerLimits limits_;
  std::int64_t preemptions_ = 0;
  BlockPool pool_;  // before the sequences: must outlive their blocks
  // Both by falling priority, then by rising id.
  std::vector<std::unique_ptr<Sequence>> running_;
  std::vector<std::unique_ptr<Sequence>> waiting_;
  std::vector<Chunk> plan_;
};

}  // namespace latent8
