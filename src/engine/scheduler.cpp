#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace latent8 {
namespace {

using Sequences = std::vector<std::unique_ptr<Sequence>>;

bool goes_first(const std::unique_ptr<Sequence>& a, const std::unique_ptr<Sequence>& b) {
  return a->priority != b->priority ? a->priority > b->priority : a->id < b->id;
}

void insert(Sequences& into, std::unique_ptr<Sequence> seq) {
  const auto place = std::upper_bound(into.begin(), into.end(), seq, goes_first);
  into.insert(place, std::move(seq));
}

std::unique_ptr<Sequence> take(Sequences& from, RequestId id) {
  const auto found = std::find_if(from.begin(), from.end(), [&](const auto& seq) { return seq->id == id; });
  if (found == from.end()) return nullptr;
  std::unique_ptr<Sequence> seq = std::move(*found);
  from.erase(found);
  return seq;
}

// Whether the first `tokens` tokens of two sequences are the same.
bool begin_alike(const Sequence& a, const Sequence& b, std::int64_t tokens) {
  return a.length() >= tokens && b.length() >= tokens &&
         std::equal(a.tokens.begin(), a.tokens.begin() + tokens, b.tokens.begin());
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits)
    : limits_(limits), pool_(limits.num_blocks), prefixes_(pool_, limits.block_size, limits.prefix_root) {
  LATENT8_CHECK(limits.max_num_seqs >= 1 && limits.max_num_batched_tokens >= 1);
  // Every running sequence can then decode in every step.
  limits_.max_num_seqs = std::min(limits.max_num_seqs, limits.max_num_batched_tokens);
}

void Scheduler::add(std::unique_ptr<Sequence> seq) {
  LATENT8_CHECK(seq->token_limit <= limits_.num_blocks * limits_.block_size);
  insert(waiting_, std::move(seq));
}

std::unique_ptr<Sequence> Scheduler::remove(RequestId id) {
  std::unique_ptr<Sequence> seq = take(running_, id);
  if (seq == nullptr) seq = take(waiting_, id);
  if (seq != nullptr) seq->blocks.clear();
  return seq;
}

std::vector<std::unique_ptr<Sequence>> Scheduler::remove_all() {
  Sequences all = std::move(running_);
  running_.clear();
  for (auto& seq : waiting_) all.push_back(std::move(seq));
  waiting_.clear();
  for (auto& seq : all) seq->blocks.clear();
  return all;
}

std::span<const Chunk> Scheduler::schedule(std::int64_t beside_decodes) {
  plan_.clear();
  std::int64_t decodes = 0;
  for (const auto& seq : running_)
    if (!seq->in_prefill()) decodes += seq->remaining();
  const std::int64_t left = limits_.max_num_batched_tokens - decodes;
  std::int64_t for_prompts = left - limit_drafts(left / 2);
  if (decodes > 0) for_prompts = std::min(for_prompts, beside_decodes);
  // After a preemption the free blocks belong to those that still run.
  if (plan_running(for_prompts)) admit(for_prompts);
  if (limits_.max_drafts > 0)
    for (Chunk& chunk : plan_) reserve_for_drafts(chunk);
  return plan_;
}

// Leaves `room` drafts at most, those of the first sequences. Returns how many there are.
std::int64_t Scheduler::limit_drafts(std::int64_t room) {
  const std::int64_t most = room;
  for (const auto& seq : running_) {
    seq->keep_drafts(std::min(seq->drafts, room));
    room -= seq->drafts;
  }
  return most - room;
}

// Comes after all that must be: never takes a block from a sequence that needs it in this step.
void Scheduler::reserve_for_drafts(Chunk& chunk) {
  Sequence& seq = *chunk.seq;
  if (!chunk.completes()) return;  // blocks of the whole prompt are there
  const std::int64_t wanted = std::min(seq.length() + seq.drafts + limits_.max_drafts, seq.token_limit);
  if (!seq.blocks.reserve(pool_, wanted) && !seq.blocks.reserve(pool_, seq.length() + seq.drafts))
    seq.keep_drafts(0);
  chunk.drafts = seq.drafts;
}

// Plans the running sequences; `for_prompts` becomes what is left of it. false: blocks ran out.
bool Scheduler::plan_running(std::int64_t& for_prompts) {
  const std::int64_t preemptions = preemptions_;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Sequence& seq = *running_[i];
    const bool prompt = seq.in_prefill();
    const std::int64_t tokens = prompt ? std::min(seq.remaining(), for_prompts) : seq.remaining();
    if (tokens == 0) continue;
    if (!reserve_or_preempt(i)) break;
    if (prompt) for_prompts -= tokens;
    plan_.push_back({&seq, tokens, prompt});
  }
  return preemptions_ == preemptions;
}

// Reserves blocks for all tokens of running_[index], if need be those of sequences behind it. false: it was
// itself the last and is preempted.
bool Scheduler::reserve_or_preempt(std::size_t index) {
  Sequence& seq = *running_[index];
  while (!seq.blocks.reserve(pool_, seq.length())) {
    const bool itself = running_.size() == index + 1;
    LATENT8_CHECK(running_.size() > 1);  // alone, any sequence fits the cache
    preempt_last();
    if (itself) return false;
  }
  return true;
}

void Scheduler::preempt_last() {
  std::unique_ptr<Sequence> seq = std::move(running_.back());
  running_.pop_back();
  seq->blocks.clear();
  seq->keep_drafts(0);
  seq->num_computed_tokens = seq->mtp_tokens = 0;
  ++preemptions_;
  insert(waiting_, std::move(seq));
}

void Scheduler::admit(std::int64_t budget) {
  // Looks past no more of those that wait for a prefix than may run: each look hashes a prompt.
  const auto last = static_cast<std::size_t>(limits_.max_num_seqs);
  for (std::size_t i = 0; i < std::min(waiting_.size(), last) && budget > 0 &&
                          static_cast<std::int64_t>(running_.size()) < limits_.max_num_seqs;) {
    switch (admit(*waiting_[i], budget)) {
      case Admission::kNoBlocks:
        return;
      case Admission::kLater:
        ++i;
        break;
      case Admission::kAdmitted:
        std::unique_ptr<Sequence> admitted = std::move(waiting_[i]);
        waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
        insert(running_, std::move(admitted));
        break;
    }
  }
}

// Reserves blocks for all tokens of a sequence and plans the first that it has to compute.
Scheduler::Admission Scheduler::admit(Sequence& seq, std::int64_t& budget) {
  PrefixCache::Found found = find_prefix(seq);
  const auto blocks = static_cast<std::int64_t>(found.blocks.size());
  if (another_computes_next_block(seq, blocks)) return Admission::kLater;
  for (BlockRef& block : found.blocks) seq.blocks.append(std::move(block));
  if (!seq.blocks.reserve(pool_, seq.length())) {
    seq.blocks.clear();
    return Admission::kNoBlocks;
  }
  seq.prefix = found.last;
  seq.kept_blocks = blocks;
  const std::int64_t cached = blocks * limits_.block_size;
  const bool again = limits_.max_drafts > 0 && blocks > 0 && found.whole == blocks;
  seq.num_computed_tokens = again ? cached - 1 : cached;
  seq.mtp_tokens = found.whole * limits_.block_size;
  seq.prefill_end = seq.length();
  if (limits_.prefix_cache) prefix_queries_ += seq.length();
  prefix_hits_ += cached;
  if (seq.started == Clock::time_point{}) seq.cached_tokens = cached;
  const std::int64_t tokens = std::min(seq.remaining(), budget);
  budget -= tokens;
  plan_.push_back({&seq, tokens, true});
  return Admission::kAdmitted;
}

// The blocks that hold the sequence's first tokens; one token at least is left to compute.
PrefixCache::Found Scheduler::find_prefix(const Sequence& seq) {
  if (!limits_.prefix_cache || seq.scores_prompt())
    return {.blocks = {}, .last = prefixes_.root(), .whole = 0};
  return prefixes_.find(std::span(seq.tokens).first(seq.tokens.size() - 1));
}

// Whether a running sequence is about to compute the block behind the `found` ones for the same tokens.
bool Scheduler::another_computes_next_block(const Sequence& seq, std::int64_t found) const {
  const std::int64_t end = (found + 1) * limits_.block_size;
  if (!limits_.prefix_cache || seq.scores_prompt() || end >= seq.length()) return false;
  return std::any_of(running_.begin(), running_.end(), [&](const std::unique_ptr<Sequence>& other) {
    return other->in_prefill() && other->num_computed_tokens < end && begin_alike(*other, seq, end);
  });
}

void Scheduler::advance() {
  for (const Chunk& chunk : plan_) {
    chunk.seq->num_computed_tokens += chunk.tokens + std::exchange(chunk.seq->accepted_drafts, 0);
    if (limits_.prefix_cache) keep_full_blocks(*chunk.seq);
  }
}

void Scheduler::keep_full_blocks(Sequence& seq) {
  const std::int64_t size = limits_.block_size;
  for (; (seq.kept_blocks + 1) * size <= seq.num_computed_tokens; ++seq.kept_blocks) {
    const std::span<const std::int32_t> tokens(seq.tokens.data() + seq.kept_blocks * size,
                                               static_cast<std::size_t>(size));
    const std::int32_t block = seq.blocks.ids()[static_cast<std::size_t>(seq.kept_blocks)];
    const bool whole = limits_.max_drafts == 0 || seq.mtp_tokens >= (seq.kept_blocks + 1) * size;
    seq.prefix = prefixes_.keep(seq.prefix, tokens, block, whole);
  }
}

}  // namespace latent8
