#include "model/step_runner.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/memory_use.h"

namespace latent8 {
namespace {

std::vector<std::int64_t> prefix_sums(const std::vector<SequencePlan>& seqs,
                                      std::int64_t SequencePlan::* rows) {
  std::vector<std::int64_t> begin{0};
  for (const SequencePlan& seq : seqs) begin.push_back(begin.back() + seq.*rows);
  return begin;
}

void copy_row(ConstMat<float> from, std::int64_t row, Mat<float> to, std::int64_t to_row) {
  std::memmove(to.row(to_row), from.row(row), static_cast<std::size_t>(from.cols) * sizeof(float));
}

}  // namespace

std::int64_t StepPlan::tokens() const {
  std::int64_t tokens = 0;
  for (const SequencePlan& seq : seqs) tokens += seq.tokens();
  return tokens;
}

std::vector<std::int64_t> StepPlan::hidden_begin() const {
  return prefix_sums(seqs, &SequencePlan::num_hidden);
}

std::vector<std::int64_t> StepPlan::logits_begin() const {
  return prefix_sums(seqs, &SequencePlan::num_logits);
}

StepRunner::StepRunner(const DeepseekModel& model, OpContext& ctx, const StepRunnerOptions& o)
    : model_(model),
      ctx_(ctx),
      options_(o),
      cache_(model.cache_layers(o.float_cache), o.block_size, o.num_blocks),
      scratch_(model.config(), o.max_tokens),
      hidden_(o.max_tokens, model.config().hidden_size),
      mtp_input_(model.has_mtp() ? o.max_tokens : 0, model.config().hidden_size),
      logits_hidden_(o.max_logits_rows, model.config().hidden_size),
      logits_(o.max_logits_rows, model.config().vocab_size) {}

std::int64_t StepRunner::buffer_bytes(const DeepseekModel& model, const StepRunnerOptions& o) {
  const ModelConfig& c = model.config();
  const auto bytes = [](std::int64_t rows, std::int64_t cols) { return aligned_size(rows * cols * 4); };
  return (model.has_mtp() ? 2 : 1) * bytes(o.max_tokens, c.hidden_size) +
         bytes(o.max_logits_rows, c.hidden_size) + bytes(o.max_logits_rows, c.vocab_size);
}

StepResult StepRunner::run(const StepPlan& plan, const TakeLogits& take_logits) {
  fill_batch(plan);
  std::fill(scratch_.clipped_per_layer.begin(), scratch_.clipped_per_layer.end(), 0);
  forward(plan);
  compute_logits(plan, take_logits);
  keep_hidden(plan);
  return {.hidden = hidden_.view().row_range(0, kept_), .clipped_codes = scratch_.clipped_per_layer};
}

void StepRunner::fill_batch(const StepPlan& plan) {
  batch_.clear();
  for (const SequencePlan& seq : plan.seqs) {
    const std::int64_t end = seq.position + seq.tokens(), size = options_.block_size;
    LATENT8_CHECK(seq.tokens() >= 1 && seq.num_hidden <= seq.tokens() && seq.num_logits <= seq.tokens());
    LATENT8_CHECK(seq.num_logits == 0 || options_.max_logits_rows > 0);
    LATENT8_CHECK(static_cast<std::int64_t>(seq.block_table.size()) * size >= end);
    batch_.add(seq.token_ids, seq.position, seq.block_table, size, seq.prompt);
  }
  LATENT8_CHECK(batch_.tokens() >= 1 && batch_.tokens() <= options_.max_tokens);
}

void StepRunner::forward(const StepPlan& plan) {
  const std::int64_t T = batch_.tokens();
  const Mat<float> hidden = hidden_.view().row_range(0, T);
  if (plan.layers == StepPlan::Layers::kModel)
    return model_.forward(ctx_, batch_, options_.attention, cache_, scratch_, hidden);
  LATENT8_CHECK(model_.has_mtp());
  LATENT8_CHECK_EQ(static_cast<std::int64_t>(plan.hidden_rows.size()), T);
  const Mat<float> input = mtp_input_.view().row_range(0, T);
  for (std::int64_t t = 0; t < T; ++t) {
    const std::int64_t row = plan.hidden_rows[static_cast<std::size_t>(t)];
    LATENT8_CHECK(row >= -1 && row < kept_);
    if (row < 0)
      std::ranges::fill(input.row_span(t), 0.0F);
    else
      copy_row(hidden_.view(), row, input, t);
  }
  model_.mtp_forward(ctx_, batch_, options_.attention, cache_, scratch_, input, hidden);
}

void StepRunner::compute_logits(const StepPlan& plan, const TakeLogits& take_logits) {
  std::int64_t first = 0, rows = 0;
  const auto flush = [&] {
    if (rows == 0) return;
    const Mat<float> logits = logits_.view().row_range(0, rows);
    const ConstMat<float> hidden = logits_hidden_.view().row_range(0, rows);
    if (plan.layers == StepPlan::Layers::kModel)
      model_.logits(ctx_, hidden, logits);
    else
      model_.mtp_logits(ctx_, hidden, logits);
    if (take_logits) take_logits(first, logits);
    first += rows;
    rows = 0;
  };
  for (std::size_t b = 0; b < plan.seqs.size(); ++b) {
    const std::int64_t end = batch_.seqs[b].query_end;
    for (std::int64_t t = end - plan.seqs[b].num_logits; t < end; ++t) {
      copy_row(hidden_.view(), t, logits_hidden_.view(), rows++);
      if (rows == options_.max_logits_rows) flush();
    }
  }
  flush();
}

// Moves the rows that are kept to the front of hidden_: never past a row that is still to be moved.
void StepRunner::keep_hidden(const StepPlan& plan) {
  kept_ = 0;
  for (std::size_t b = 0; b < plan.seqs.size(); ++b) {
    const std::int64_t end = batch_.seqs[b].query_end;
    for (std::int64_t t = end - plan.seqs[b].num_hidden; t < end; ++t)
      copy_row(hidden_.view(), t, hidden_.view(), kept_++);
  }
}

}  // namespace latent8
