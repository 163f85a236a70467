#include "engine/engine_loop.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/log.h"

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

std::int64_t prompt_tokens(std::span<const Chunk> chunks) {
  std::int64_t tokens = 0;
  for (const Chunk& chunk : chunks) tokens += chunk.prompt ? chunk.tokens : 0;
  return tokens;
}

// What a step whose tokens were chosen says of decoding.
struct Decoding {
  std::int64_t tokens = 0, prompts = 0;  // of the step: tokens, and sequences that computed a prompt
  std::int64_t go_on = 0, followed = 0;  // sequences that decode next, and those the MTP layer has followed
  DraftPolicy::PerPlace drafted{}, accepted{};  // of those that go on
};

Decoding decoding_of(std::span<const Chunk> chunks) {
  Decoding out;
  for (const Chunk& chunk : chunks) {
    const Sequence& seq = *chunk.seq;
    out.tokens += chunk.tokens + chunk.drafts;
    out.prompts += chunk.prompt ? 1 : 0;
    if (seq.ended || seq.num_computed_tokens + chunk.tokens < seq.prefill_end) continue;
    ++out.go_on;
    out.followed += seq.mtp_follows() ? 1 : 0;
    for (std::size_t i = 0; i < out.drafted.size(); ++i) {
      out.drafted[i] += static_cast<std::int64_t>(i) < chunk.drafts ? 1 : 0;
      out.accepted[i] += static_cast<std::int64_t>(i) < seq.accepted_drafts ? 1 : 0;
    }
  }
  return out;
}

}  // namespace

EngineLoop::EngineLoop(std::shared_ptr<const DeepseekModel> model, const ResolvedOptions& options,
                       std::vector<std::int32_t> eos_token_ids)
    : num_blocks_(options.limits.num_blocks),
      max_waiting_(options.max_waiting),
      max_drafts_(options.limits.max_drafts),
      model_(std::move(model)),
      pool_(options.threads),
      ctx_(pool_),
      runner_(*model_, ctx_, options.step),
      scheduler_(options.limits),
      chunk_budget_(options.max_stream_gap_s, options.limits.max_num_batched_tokens),
      chooser_(ctx_, model_->config().vocab_size, std::move(eos_token_ids)),
      drafter_(runner_, chooser_, options.limits.block_size),
      draft_policy_(options.limits.max_drafts, options.fixed_drafts) {
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
    std::vector<LogitsRow> rows;
    const StepPlan plan = plan_of(chunks, rows);
    result = chooser_.run(runner_, plan, std::move(rows));
  } catch (const std::bad_alloc&) {
    return fail(chunks, "not enough memory for a step with this request");
  } catch (const std::exception& error) {
    return fail(chunks, error.what());
  }
  const double model_s = seconds(begin, Clock::now());
  for (const Chunk& chunk : chunks)
    if (chunk.seq->started == Clock::time_point{}) chunk.seq->started = begin;
  count(chunks, result.clipped_codes);
  deliver();
  if (max_drafts_ > 0) draft(chunks, model_s);
  if (const std::int64_t tokens = prompt_tokens(chunks); tokens > 0)
    chunk_budget_.observe(tokens, seconds(begin, Clock::now()));
  scheduler_.advance();
  for (End& ended : std::exchange(ending_, {})) finish(ended.id, ended.reason, std::move(ended.message));
}

// The MTP layer's turn after a step of the model, which took model_s. What fails here costs only speed.
void EngineLoop::draft(std::span<const Chunk> chunks, double model_s) {
  const Decoding decoding = decoding_of(chunks);
  draft_policy_.observe_drafts(decoding.drafted, decoding.accepted);
  if (decoding.prompts == 0) draft_policy_.observe_step(decoding.tokens, model_s);
  const DraftPolicy::Choice choice = draft_policy_.choose(decoding.go_on, decoding.followed);
  if (choice.rests) return;
  const Clock::time_point begin = Clock::now();
  try {
    drafter_.run(chunks, choice.drafts);
  } catch (const std::exception& error) {
    log_warn(fmt::format("no tokens are drafted in this step: {}", error.what()));
  }
  if (decoding.prompts == 0 && decoding.followed > 0)
    draft_policy_.observe_drafting(decoding.followed, choice.drafts, seconds(begin, Clock::now()));
}

// Ends the requests of a step that failed, and no others.
void EngineLoop::fail(std::span<const Chunk> chunks, const std::string& message) {
  std::vector<RequestId> ids;
  for (const Chunk& chunk : chunks) ids.push_back(chunk.seq->id);
  for (const RequestId id : ids) finish(id, FinishReason::kError, message);
}

// Fills `rows` too: what the step's logits are for.
StepPlan EngineLoop::plan_of(std::span<const Chunk> chunks, std::vector<LogitsRow>& rows) const {
  StepPlan plan;
  for (const Chunk& chunk : chunks) {
    const Sequence& seq = *chunk.seq;
    const std::int64_t begin = seq.num_computed_tokens, end = begin + chunk.tokens;
    const auto from = seq.tokens.begin() + begin;
    const std::span<const std::int32_t> blocks = seq.blocks.ids();
    std::int64_t first = chunk.completes() ? end : end + 1;  // the first place that is wanted
    if (seq.scores_prompt()) first = std::min(first, std::max(begin + 1, seq.scored_tokens));
    for (std::int64_t place = first; place <= end + chunk.drafts; ++place)
      rows.push_back(
          {chunk.seq, place, place < seq.length() ? LogitsRow::Use::kScore : LogitsRow::Use::kChoose});
    plan.seqs.push_back({.token_ids = {from, from + chunk.tokens + chunk.drafts},
                         .position = begin,
                         .block_table = {blocks.begin(), blocks.end()},
                         .prompt = chunk.prompt,
                         .num_hidden = max_drafts_ > 0 ? Drafter::hidden_rows(chunk) : 0,
                         .num_logits = end + chunk.drafts + 1 - first});
  }
  return plan;
}

void EngineLoop::count(std::span<const Chunk> chunks, std::span<const std::int64_t> clipped_codes) {
  ++counters_.steps;
  counters_.prefill_tokens += prompt_tokens(chunks);
  for (const Chunk& chunk : chunks)
    for (std::int64_t i = 0; i < chunk.drafts; ++i) ++counters_.drafted[static_cast<std::size_t>(i)];
  for (std::size_t l = 0; l < counters_.clipped_codes.size(); ++l)
    counters_.clipped_codes[l] += clipped_codes[l];
}

void EngineLoop::deliver() {
  const Sequence* done = nullptr;  // its other rows stand behind an end, or a draft that was refused
  for (std::size_t i = 0; i < chooser_.rows().size(); ++i) {
    const LogitsRow& row = chooser_.rows()[i];
    if (row.seq != done && !deliver(row, chooser_.result(i))) done = row.seq;
  }
}

// Whether the sequence's next row is of use.
bool EngineLoop::deliver(const LogitsRow& row, const SampleResult& result) {
  Sequence& seq = *row.seq;
  switch (result.status) {
    case SampleResult::Status::kChosen:
      if (row.use == LogitsRow::Use::kChoose) {
        counters_.answer_steps += seq.accepted_drafts == 0 ? 1 : 0;
        return append(seq, result);
      }
      tell_prompt_token(seq, result);
      return true;
    case SampleResult::Status::kNotFinite:
      end(seq, FinishReason::kError,
          fmt::format("logits of token {}: finite numbers expected, got NaN or Inf", row.place));
      return false;
    case SampleResult::Status::kNothingAllowed:
      end(seq, FinishReason::kError,
          fmt::format("token {}: its mask allows no token of the vocabulary", row.place));
      return false;
  }
  return false;
}

void EngineLoop::tell_prompt_token(Sequence& seq, const SampleResult& result) {
  ++seq.scored_tokens;
  seq.sink->on_prompt_token(
      {.id = result.token.id, .logprob = result.token.logprob, .rank = result.token.rank, .top = result.top});
}

// Whether it is the draft that stood there, so that what was computed behind it holds, and the answer goes
// on.
bool EngineLoop::append(Sequence& seq, const SampleResult& result) {
  seq.last_token = Clock::now();
  if (seq.answer_tokens() == 0) seq.first_token = seq.last_token;
  const std::int32_t id = result.token.id;
  const bool was_draft = take_token(seq, id);
  ++counters_.generated_tokens;
  if (seq.mask != nullptr) seq.mask->accept(id);
  const bool more = seq.sink->on_token(
      {.id = id, .logprob = result.token.logprob, .rank = result.token.rank, .top = result.top});
  if (chooser_.ends(seq, id) || !more) {
    end(seq, FinishReason::kStop);
  } else if (seq.length() >= seq.token_limit) {
    end(seq, FinishReason::kLength);
  }
  // The last token of an answer is computed, and so cached, no more than without drafts.
  if (seq.ended && was_draft) --seq.accepted_drafts;
  return was_draft && !seq.ended;
}

// The next token of a sequence. Whether it is its first draft; if not, no draft is left.
bool EngineLoop::take_token(Sequence& seq, std::int32_t id) {
  if (seq.drafts > 0 && seq.tokens[static_cast<std::size_t>(seq.length())] == id) {
    ++counters_.accepted[static_cast<std::size_t>(seq.accepted_drafts)];
    --seq.drafts;
    ++seq.accepted_drafts;
    return true;
  }
  seq.keep_drafts(0);
  seq.tokens.push_back(id);
  return false;
}

// The request is finished when the step is over.
void EngineLoop::end(Sequence& seq, FinishReason reason, std::string message) {
  seq.ended = true;
  ending_.push_back({seq.id, reason, std::move(message)});
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
