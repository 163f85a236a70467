#include "engine/token_chooser.h"

#include <algorithm>
#include <utility>

#include "ops/each_row.h"

namespace latent8 {
namespace {

bool contains(const std::vector<std::int32_t>& ids, std::int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

std::span<const std::int32_t> tokens_before(const LogitsRow& row) {
  return std::span(row.seq->tokens).first(static_cast<std::size_t>(row.place));
}

}  // namespace

TokenChooser::TokenChooser(OpContext& ctx, std::int64_t vocab_size, std::vector<std::int32_t> eos_token_ids)
    : ctx_(ctx),
      mask_words_(static_cast<std::size_t>((vocab_size + 63) / 64)),
      eos_token_ids_(std::move(eos_token_ids)),
      samplers_(static_cast<std::size_t>(ctx.threads())) {}

StepResult TokenChooser::run(StepRunner& runner, const StepPlan& plan, std::vector<LogitsRow> rows) {
  struct EndMasks {  // before anybody tells the masks of a token, or ends their sequences
    StepMasks& masks;
    ~EndMasks() { masks.end(); }
  };
  const EndMasks end{masks_};
  begin(std::move(rows));
  return runner.run(plan,
                    [this](std::int64_t first_row, ConstMat<float> logits) { take(first_row, logits); });
}

void TokenChooser::begin(std::vector<LogitsRow> rows) {
  rows_ = std::move(rows);
  results_.assign(rows_.size(), {});
  allowed_.assign(rows_.size(), {});
  mask_of_.assign(rows_.size(), 0);
  masked_.clear();
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].seq->mask == nullptr || rows_[i].use == LogitsRow::Use::kScore) continue;
    allowed_[i].assign(mask_words_, ~std::uint64_t{0});
    if (masked_.empty() || rows_[masked_.back()].seq != rows_[i].seq) masked_.push_back(i);
    mask_of_[i] = masked_.size() - 1;
  }
  masks_.begin(masked_.size(), [this](std::size_t i) { restrict_rows(masked_[i]); });
}

// The rows of one sequence from its first one that has a mask on: the drafts between them are accepted on
// trial.
void TokenChooser::restrict_rows(std::size_t first) {
  const Sequence& seq = *rows_[first].seq;
  std::int64_t place = seq.length();
  for (std::size_t i = first; i < rows_.size() && rows_[i].seq == &seq; ++i) {
    for (; place < rows_[i].place; ++place) seq.mask->accept(seq.tokens[static_cast<std::size_t>(place)]);
    seq.mask->restrict(allowed_[i]);
  }
  if (place > seq.length()) seq.mask->rollback(place - seq.length());
}

void TokenChooser::take(std::int64_t first_row, ConstMat<float> logits) {
  for_each_row(ctx_, logits.rows, [&](std::int64_t row, int worker) {
    const auto i = static_cast<std::size_t>(first_row + row);
    results_[i] = evaluate(i, logits.row_span(row), samplers_[static_cast<std::size_t>(worker)]);
  });
}

SampleResult TokenChooser::evaluate(std::size_t i, std::span<const float> logits, Sampler& sampler) {
  const LogitsRow& row = rows_[i];
  const Sequence& seq = *row.seq;
  if (row.use == LogitsRow::Use::kScore)
    return sampler.score(logits, seq.tokens[static_cast<std::size_t>(row.place)], seq.prompt_logprobs);
  if (!allowed_[i].empty()) masks_.need(mask_of_[i]);
  return sampler.sample({.logits = logits,
                         .params = &seq.sampling,
                         .tokens = tokens_before(row),
                         .prompt_tokens = seq.prompt_tokens,
                         .allowed = allowed_[i],
                         .eos_token_ids = eos_token_ids_,
                         .logprobs = row.use == LogitsRow::Use::kChoose});
}

bool TokenChooser::ends(const Sequence& seq, std::int32_t token) const {
  return (!seq.sampling.ignore_eos && contains(eos_token_ids_, token)) ||
         contains(seq.sampling.stop_token_ids, token);
}

}  // namespace latent8
