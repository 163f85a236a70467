#include "engine/engine_loop.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.h"
#include "ops/each_row.h"

namespace latent8 {
namespace {

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

Usage usage_of(const Sequence& seq) {
  Usage usage;
  usage.prompt_tokens = seq.prompt_tokens;
  usage.cached_tokens = seq.cached_tokens;
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
      max_waiting_(options.max_waiting),
      model_(std::move(model)),
      pool_(options.threads),
      ctx_(pool_),
      runner_(*model_, ctx_, options.step),
      scheduler_(options.limits),
      chunk_budget_(options.max_stream_gap_s, options.limits.max_num_batched_tokens),
      samplers_(static_cast<std::size_t>(pool_.threads())),
      masks_(static_cast<std::size_t>(model_->config().vocab_size + 63) / 64) {
  counters_.clipped_codes.resize(static_cast<std::size_t>(model_->num_layers()));
  report();
}

void EngineLoop::submit(std::unique_ptr<Sequence> seq) {
  const std::lock_guard lock(mutex_);
  const auto waiting = stats_.waiting + static_cast<std::int64_t>(inbox_.submitted.size());
  if (max_waiting_ > 0 && waiting >= max_waiting_)
    throw_error(ErrorCode::kUnavailable, "the queue is full: {} requests wait", waiting);
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
  bool stopping = false;
  for (bool done = false; !done;) {
    Inbox inbox = take_inbox(/*wait=*/!stopping);
    done = stopping && inbox.empty();
    stopping |= inbox.stop;
    accept(std::move(inbox));
    stopping ? cancel_all() : step();
    report();
  }
}

// Waits, if it is told to, while there is nothing to run.
EngineLoop::Inbox EngineLoop::take_inbox(bool wait) {
  std::unique_lock lock(mutex_);
  if (wait && scheduler_.idle()) wake_.wait(lock, [&] { return !inbox_.empty(); });
  return std::exchange(inbox_, {});
}

void EngineLoop::accept(Inbox inbox) {
  for (auto& seq : inbox.submitted) scheduler_.add(std::move(seq));
  for (const RequestId id : inbox.cancelled) finish(id, FinishReason::kCancelled);
}

void EngineLoop::cancel_all() {
  for (auto& seq : scheduler_.remove_all())
    finished_.push_back({std::move(seq), {.reason = FinishReason::kCancelled, .usage = {}, .message = ""}});
}

void EngineLoop::step() {
  const std::span<const Chunk> chunks = scheduler_.schedule(chunk_budget_.tokens());
  if (chunks.empty()) return;
  const Clock::time_point begin = Clock::now();
  StepResult result;
  try {
    result = run_step(chunks);
  } catch (const std::bad_alloc&) {
    return fail(chunks, "not enough memory for a step with this request");
  } catch (const std::exception& error) {
    return fail(chunks, error.what());
  }
  count(chunks, result.clipped_codes, seconds(begin, Clock::now()));
  for (const Chunk& chunk : chunks)
    if (chunk.seq->started == Clock::time_point{}) chunk.seq->started = begin;
  scheduler_.advance();
  deliver();
}

StepResult EngineLoop::run_step(std::span<const Chunk> chunks) {
  struct EndMasks {  // before anybody tells the masks of a token, or ends their sequences
    StepMasks& masks;
    ~EndMasks() { masks.end(); }
  };
  const StepPlan plan = plan_of(chunks);
  const EndMasks end{masks_};
  begin_masks();
  return runner_.run(plan,
                     [this](std::int64_t first_row, ConstMat<float> logits) { evaluate(first_row, logits); });
}

// They need no logits: by the time these are there, most masks are too.
void EngineLoop::begin_masks() {
  std::vector<MaskProvider*> providers;
  for (Row& row : rows_) {
    if (!row.samples || row.seq->mask == nullptr) continue;
    row.mask = providers.size();
    providers.push_back(row.seq->mask.get());
  }
  masks_.begin(providers);
}

// Ends the requests of a step that failed, and no others.
void EngineLoop::fail(std::span<const Chunk> chunks, const std::string& message) {
  std::vector<RequestId> ids;
  for (const Chunk& chunk : chunks) ids.push_back(chunk.seq->id);
  for (const RequestId id : ids) finish(id, FinishReason::kError, message);
}

// Fills rows_ too: what the step's logits are for.
StepPlan EngineLoop::plan_of(std::span<const Chunk> chunks) {
  StepPlan plan;
  rows_.clear();
  for (const Chunk& chunk : chunks) {
    const Sequence& seq = *chunk.seq;
    const std::int64_t begin = seq.num_computed_tokens, end = begin + chunk.tokens;
    const auto from = seq.tokens.begin() + begin;
    const std::span<const std::int32_t> blocks = seq.blocks.ids();
    std::int64_t first = chunk.completes() ? end : end + 1;  // the first place that is wanted
    if (seq.scores_prompt()) first = std::min(first, std::max(begin + 1, seq.scored_tokens));
    for (std::int64_t place = first; place <= end; ++place)
      rows_.push_back({chunk.seq, place, /*samples=*/place == seq.length()});
    plan.seqs.push_back({.token_ids = {from, from + chunk.tokens},
                         .position = begin,
                         .block_table = {blocks.begin(), blocks.end()},
                         .prompt = chunk.prompt,
                         .num_logits = end + 1 - first});
  }
  return plan;
}

void EngineLoop::count(std::span<const Chunk> chunks, std::span<const std::int64_t> clipped_codes,
                       double time_s) {
  ++counters_.steps;
  std::int64_t prompt_tokens = 0;
  for (const Chunk& chunk : chunks) prompt_tokens += chunk.prompt ? chunk.tokens : 0;
  if (prompt_tokens > 0) chunk_budget_.observe(prompt_tokens, time_s);
  counters_.prefill_tokens += prompt_tokens;
  for (std::size_t l = 0; l < counters_.clipped_codes.size(); ++l)
    counters_.clipped_codes[l] += clipped_codes[l];
}

void EngineLoop::evaluate(std::int64_t first_row, ConstMat<float> logits) {
  results_.resize(rows_.size());
  for_each_row(ctx_, logits.rows, [&](std::int64_t row, int worker) {
    const auto i = static_cast<std::size_t>(first_row + row);
    results_[i] = evaluate(rows_[i], logits.row_span(row), samplers_[static_cast<std::size_t>(worker)]);
  });
}

SampleResult EngineLoop::evaluate(const Row& row, std::span<const float> logits, Sampler& sampler) {
  const Sequence& seq = *row.seq;
  if (!row.samples)
    return sampler.score(logits, seq.tokens[static_cast<std::size_t>(row.place)], seq.prompt_logprobs);
  return sampler.sample(
      {.logits = logits,
       .params = &seq.sampling,
       .tokens = seq.tokens,
       .prompt_tokens = seq.prompt_tokens,
       .allowed = seq.mask == nullptr ? std::span<const std::uint64_t>{} : masks_.take(row.mask),
       .eos_token_ids = eos_token_ids_});
}

void EngineLoop::deliver() {
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    Sequence& seq = *rows_[i].seq;
    if (seq.ended) continue;  // at a row before this one
    switch (results_[i].status) {
      case SampleResult::Status::kChosen:
        if (rows_[i].samples)
          append(seq, results_[i]);
        else
          tell_prompt_token(seq, results_[i]);
        break;
      case SampleResult::Status::kNotFinite:
        finish(seq.id, FinishReason::kError,
               fmt::format("logits of token {}: finite numbers expected, got NaN or Inf", rows_[i].place));
        break;
      case SampleResult::Status::kNothingAllowed:
        finish(seq.id, FinishReason::kError,
               fmt::format("token {}: its mask allows no token of the vocabulary", rows_[i].place));
        break;
    }
  }
}

void EngineLoop::tell_prompt_token(Sequence& seq, const SampleResult& result) {
  ++seq.scored_tokens;
  seq.sink->on_prompt_token(
      {.id = result.token.id, .logprob = result.token.logprob, .rank = result.token.rank, .top = result.top});
}

void EngineLoop::append(Sequence& seq, const SampleResult& result) {
  seq.last_token = Clock::now();
  if (seq.answer_tokens() == 0) seq.first_token = seq.last_token;
  const std::int32_t id = result.token.id;
  seq.tokens.push_back(id);
  ++counters_.generated_tokens;
  if (seq.mask != nullptr) seq.mask->accept(id);
  const bool more = seq.sink->on_token(
      {.id = id, .logprob = result.token.logprob, .rank = result.token.rank, .top = result.top});
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
  seq->ended = true;
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
  counters_.prefix_query_tokens = scheduler_.prefix_queries();
  counters_.prefix_hit_tokens = scheduler_.prefix_hits();
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
