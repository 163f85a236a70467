#pragma once
// Which tokens of which sequences the next step computes.

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "kv/block_pool.h"
#include "kv/prefix_cache.h"

namespace latent8 {

struct SchedulerLimits {
  std::int64_t max_num_seqs = 1;            // running at once
  std::int64_t max_num_batched_tokens = 1;  // of one step
  std::int64_t block_size = 128;
  std::int32_t num_blocks = 1;
  bool prefix_cache = false;      // see PrefixCache
  std::uint64_t prefix_root = 0;  // its root key
  std::int64_t max_drafts = 0;    // of a sequence in a step; 0: no MTP layer has to follow
};

// The next `tokens` tokens of a sequence, and `drafts` that are guessed to come behind them.
struct Chunk {
  Sequence* seq = nullptr;
  std::int64_t tokens = 0;
  bool prompt = false;  // see Sequence::in_prefill
  std::int64_t drafts = 0;

  // Whether the step computes the sequence's last token, so that its logits give the next one.
  bool completes() const { return tokens == seq->remaining(); }
};

// Continuous batching with chunked prefill. First come, first served within a priority. A sequence is
// admitted when blocks for all its tokens are free; when blocks run out, the sequence of the lowest priority
// that came last gives its blocks back and waits to be computed again. The first of the running sequences is
// never preempted, so every sequence that fits the cache alone finishes. With the prefix cache a sequence
// begins behind the blocks that hold its first tokens already, and waits while another one computes the next
// of them. Drafts take tokens and blocks that nobody else needs. Where an MTP layer follows, the last token
// that was found is computed again: the layer's next entry wants its hidden state. Thread-safety: none; the
// engine thread's. Invariant: free blocks + blocks of running sequences, shared ones once, = num_blocks;
// waiting sequences hold none.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // REQUIRES: token_limit of the sequence <= num_blocks * block_size.
  void add(std::unique_ptr<Sequence> seq);
  // The sequence, taken out and without blocks; nullptr if there is none of this id.
  std::unique_ptr<Sequence> remove(RequestId id);
  std::vector<std::unique_ptr<Sequence>> remove_all();

  // The next step: decodes first, the rest of max_num_batched_tokens, and beside decodes no more than
  // `beside_decodes`, for chunks of prompts, in the order of
  // running(). Blocks for its tokens are reserved, and for the MTP layer one more and further drafts where
  // they are free. Empty if there is nothing to run. Valid until the next call of a non-const method but
  // advance().
  std::span<const Chunk> schedule(std::int64_t beside_decodes = std::numeric_limits<std::int64_t>::max());
  // The step that schedule() planned has been computed, and accepted_drafts are known.
  void advance();

  bool idle() const { return running_.empty() && waiting_.empty(); }
  std::span<const std::unique_ptr<Sequence>> running() const { return running_; }
  std::span<const std::unique_ptr<Sequence>> waiting() const { return waiting_; }
  std::int64_t free_blocks() const { return pool_.free_blocks(); }
  std::int64_t preemptions() const { return preemptions_; }
  std::int64_t prefix_queries() const { return prefix_queries_; }  // tokens that were looked up
  std::int64_t prefix_hits() const { return prefix_hits_; }        // and found

 private:
  std::int64_t limit_drafts(std::int64_t room);
  void reserve_for_drafts(Chunk& chunk);
  bool plan_running(std::int64_t& for_prompts);
  bool reserve_or_preempt(std::size_t index);
  void preempt_last();
  void admit(std::int64_t budget);
  enum class Admission : std::uint8_t { kAdmitted, kLater, kNoBlocks };
  Admission admit(Sequence& seq, std::int64_t& budget);
  PrefixCache::Found find_prefix(const Sequence& seq);
  bool another_computes_next_block(const Sequence& seq, std::int64_t found) const;
  void keep_full_blocks(Sequence& seq);

  SchedulerLimits limits_;
  std::int64_t preemptions_ = 0, prefix_queries_ = 0, prefix_hits_ = 0;
  BlockPool pool_;  // before the sequences: must outlive their blocks
  PrefixCache prefixes_;
  // Both by falling priority, then by rising id.
  std::vector<std::unique_ptr<Sequence>> running_;
  std::vector<std::unique_ptr<Sequence>> waiting_;
  std::vector<Chunk> plan_;
};

}  // namespace latent8
