#include "engine/engine_loop.h"

#include <algorithm>
#include <utility>

namespace latent8 {
namespace {

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

Usage usage_of(const Sequence& seq) {
  Usage usage;
  usage.prompt_tokens = seq.prompt_tokens;
  usage.completion_tokens = seq.answer_tokens();
  if (seq.started == Clock::time_point{}) {
    usage.queue_s = seconds(seq.submitted, Clock::now());
    return usage;
  }
  usage.queue_s = seconds(seq.submitted, seq.started);
  if (seq.answer_tokens() == 0) return usage;
  usage.prefill_s = seconds(seq.started, seq.first_token);
  usage.decode_s = seconds(seq.first_token, seq.last_token);
  return usage;
}

bool contains(const std::vector<std::int32_t>& ids, std::int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

EngineLoop::EngineLoop(std::shared_ptr<const DeepseekModel> model, const ResolvedOptions& options,
                       std::vector<std::int32_t> eos_token_ids)
    : eos_token_ids_(std::move(eos_token_ids)),
      num_blocks_(options.limits.num_blocks),
      executor_(std::move(model), options.executor),
      scheduler_(options.limits),
      samplers_(static_cast<std::size_t>(executor_.pool().threads())) {
  report();
}

void EngineLoop::submit(std::unique_ptr<Sequence> seq) {
  const std::lock_guard lock(mutex_);
  inbox_.submitted.push_back(std::move(seq));
  wake_.notify_one();
}

void EngineLoop::cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  inbox_.cancelled.push_back(id);
  wake_.notify_one();
}

void EngineLoop::stop() {
  const std::lock_guard lock(mutex_);
  inbox_.stop = true;
  wake_.notify_one();
}

EngineStats EngineLoop::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.waiting += static_cast<std::int64_t>(inbox_.submitted.size());
  return stats;
}

void EngineLoop::run() {
  for (bool stopped = false; !stopped;) {
    Inbox inbox = take_inbox();
    stopped = inbox.stop;
    accept(std::move(inbox));
    if (stopped) {
      for (auto& seq : scheduler_.remove_all())
        finished_.push_back(
            {std::move(seq), {.reason = FinishReason::kCancelled, .usage = {}, .message = ""}});
    } else {
      step();
    }
    report();
  }
}

// Waits while there is nothing to run.
EngineLoop::Inbox EngineLoop::take_inbox() {
  std::unique_lock lock(mutex_);
  if (scheduler_.idle()) wake_.wait(lock, [&] { return !inbox_.empty(); });
  return std::exchange(inbox_, {});
}

void EngineLoop::accept(Inbox inbox) {
  for (auto& seq : inbox.submitted) scheduler_.add(std::move(seq));
  for (const RequestId id : inbox.cancelled) finish(id, FinishReason::kCancelled);
}

void EngineLoop::step() {
  const std::span<const Chunk> chunks = scheduler_.schedule();
  if (chunks.empty()) return;
  const Clock::time_point begin = Clock::now();
  ConstMat<float> logits;
  try {
    logits = executor_.run(chunks);
  } catch (
      const std::exception& error) {  // an Error of the model, or no memory: these requests end, no others
    std::vector<RequestId> ids;
    for (const Chunk& chunk : chunks) ids.push_back(chunk.seq->id);
    for (const RequestId id : ids) finish(id, FinishReason::kError, error.what());
    return;
  }
  count(chunks);
  std::vector<Sequence*> complete;
  for (const Chunk& chunk : chunks) {
    Sequence& seq = *chunk.seq;
    if (seq.started == Clock::time_point{}) seq.started = begin;
    if (chunk.completes()) complete.push_back(&seq);
    seq.num_computed_tokens += chunk.tokens;
  }
  sample(complete, logits);
  deliver(complete);
}

void EngineLoop::count(std::span<const Chunk> chunks) {
  ++counters_.steps;
  for (const Chunk& chunk : chunks) {
    const std::int64_t begin = chunk.seq->num_computed_tokens;
    counters_.prefill_tokens += std::clamp<std::int64_t>(chunk.seq->prefill_end - begin, 0, chunk.tokens);
  }
}

// results_[i] is the next token of seqs[i], from row i of the logits.
void EngineLoop::sample(std::span<Sequence* const> seqs, ConstMat<float> logits) {
  results_.resize(std::max(results_.size(), seqs.size()));
  masks_.resize(results_.size());
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    const bool masked = seqs[i]->mask != nullptr;
    masks_[i].assign(masked ? static_cast<std::size_t>(logits.cols + 63) / 64 : 0, ~std::uint64_t{0});
    if (masked) seqs[i]->mask->restrict(masks_[i]);
  }
  executor_.pool().parallel_for(
      static_cast<std::int64_t>(seqs.size()), 1, [&](std::int64_t begin, std::int64_t end, int worker) {
        for (std::int64_t r = begin; r < end; ++r) {
          const auto i = static_cast<std::size_t>(r);
          results_[i] =
              samplers_[static_cast<std::size_t>(worker)].sample({.logits = logits.row_span(r),
                                                                  .params = &seqs[i]->sampling,
                                                                  .tokens = seqs[i]->tokens,
                                                                  .prompt_tokens = seqs[i]->prompt_tokens,
                                                                  .allowed = masks_[i]});
        }
      });
}

void EngineLoop::deliver(std::span<Sequence* const> sampled) {
  for (std::size_t i = 0; i < sampled.size(); ++i) {
    Sequence& seq = *sampled[i];
    switch (results_[i].status) {
      case SampleResult::Status::kChosen:
        append(seq, results_[i]);
        break;
      case SampleResult::Status::kNotFinite:
        finish(seq.id, FinishReason::kError,
               fmt::format("logits of token {}: finite numbers expected, got NaN or Inf", seq.length()));
        break;
      case SampleResult::Status::kNothingAllowed:
        finish(seq.id, FinishReason::kError,
               fmt::format("token {}: its mask allows no token of the vocabulary", seq.length()));
        break;
    }
  }
}

void EngineLoop::append(Sequence& seq, const SampleResult& result) {
  seq.last_token = Clock::now();
  if (seq.answer_tokens() == 0) seq.first_token = seq.last_token;
  const std::int32_t id = result.token.id;
  seq.tokens.push_back(id);
  ++counters_.generated_tokens;
  if (seq.mask != nullptr) seq.mask->accept(id);
  const bool more = seq.sink->on_token({.id = id, .logprob = result.token.logprob, .top = result.top});
  const bool stop =
      (!seq.sampling.ignore_eos && contains(eos_token_ids_, id)) || contains(seq.sampling.stop_token_ids, id);
  if (stop || !more) {
    finish(seq.id, FinishReason::kStop);
  } else if (seq.length() >= seq.token_limit) {
    finish(seq.id, FinishReason::kLength);
  }
}

void EngineLoop::finish(RequestId id, FinishReason reason, std::string message) {
  std::unique_ptr<Sequence> seq = scheduler_.remove(id);
  if (seq == nullptr) return;  // cancelled after it had finished
  finished_.push_back({std::move(seq), {.reason = reason, .usage = {}, .message = std::move(message)}});
}

// Publishes the figures, then tells the sinks whose requests ended, so that whoever has the answer sees the
// figures with it.
void EngineLoop::report() {
  counters_.running = static_cast<std::int64_t>(scheduler_.running().size());
  counters_.waiting = static_cast<std::int64_t>(scheduler_.waiting().size());
  counters_.free_blocks = scheduler_.free_blocks();
  counters_.num_blocks = num_blocks_;
  counters_.preemptions = scheduler_.preemptions();
  counters_.clipped_codes.assign(executor_.clipped_codes().begin(), executor_.clipped_codes().end());
  {
    const std::lock_guard lock(mutex_);
    stats_ = counters_;
  }
  for (Outcome& outcome : std::exchange(finished_, {})) {
    outcome.finish.usage = usage_of(*outcome.seq);
    outcome.seq->sink->on_finish(outcome.finish);
  }
}

}  // namespace latent8
