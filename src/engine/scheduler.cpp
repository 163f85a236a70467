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

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits), pool_(limits.num_blocks) {
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

std::span<const Chunk> Scheduler::schedule() {
  plan_.clear();
  std::int64_t budget = limits_.max_num_batched_tokens;
  // After a preemption the free blocks belong to those that still run.
  if (plan_running(budget)) admit(budget);
  return plan_;
}

// Plans the running sequences; `budget` becomes what is left of it. false: blocks ran out.
bool Scheduler::plan_running(std::int64_t& budget) {
  const std::int64_t preemptions = preemptions_;
  std::int64_t for_prompts = budget;
  for (const auto& seq : running_)
    if (!seq->in_prefill()) for_prompts -= seq->remaining();
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Sequence& seq = *running_[i];
    const bool prompt = seq.in_prefill();
    const std::int64_t tokens = prompt ? std::min(seq.remaining(), for_prompts) : seq.remaining();
    if (tokens == 0) continue;
    if (!reserve_or_preempt(i)) break;
    if (prompt) for_prompts -= tokens;
    budget -= tokens;
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
  seq->num_computed_tokens = 0;
  ++preemptions_;
  insert(waiting_, std::move(seq));
}

void Scheduler::admit(std::int64_t budget) {
  while (!waiting_.empty() && budget > 0 &&
         static_cast<std::int64_t>(running_.size()) < limits_.max_num_seqs) {
    Sequence& seq = *waiting_.front();
    if (!seq.blocks.reserve(pool_, seq.length())) return;
    seq.prefill_end = seq.length();
    const std::int64_t tokens = std::min(seq.remaining(), budget);
    budget -= tokens;
    plan_.push_back({&seq, tokens, true});
    std::unique_ptr<Sequence> admitted = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
    insert(running_, std::move(admitted));
  }
}

}  // namespace latent8
