#include "engine/drafter.h"

#include <algorithm>
#include <utility>

namespace latent8 {

void Drafter::run(std::span<const Chunk> chunks, std::int64_t most) {
  plan_ = {.layers = StepPlan::Layers::kMtp, .seqs = {}, .hidden_rows = {}};
  drafted_.clear();
  std::vector<std::pair<Sequence*, std::int64_t>> followed;  // and what its mtp_tokens will be
  std::int64_t row = 0;
  for (const Chunk& chunk : chunks) {
    const std::size_t planned = plan_.seqs.size();
    follow(chunk, row, most);
    row += hidden_rows(chunk);
    if (plan_.seqs.size() > planned)
      followed.emplace_back(chunk.seq, plan_.seqs.back().position + plan_.seqs.back().tokens());
  }
  while (!plan_.seqs.empty()) {
    std::vector<LogitsRow> rows;
    for (Sequence* seq : drafted_) rows.push_back({seq, seq->length() + seq->drafts, LogitsRow::Use::kDraft});
    chooser_.run(runner_, plan_, std::move(rows));
    for (const auto& [seq, mtp_tokens] : std::exchange(followed, {})) seq->mtp_tokens = mtp_tokens;
    chain(most);
  }
}

// Plans the entries that a chunk's hidden states, from first_row on, have made possible.
void Drafter::follow(const Chunk& chunk, std::int64_t first_row, std::int64_t most) {
  Sequence& seq = *chunk.seq;
  if (!seq.mtp_follows()) return;
  const std::int64_t computed = seq.num_computed_tokens + chunk.tokens + seq.accepted_drafts;
  // Of a sequence that has ended only the blocks live on that the prefix cache keeps.
  const std::int64_t wanted = seq.ended ? computed / block_size_ * block_size_ : computed + 1;
  const std::int64_t end = std::min(wanted, std::ssize(seq.blocks.ids()) * block_size_);
  if (end <= seq.mtp_tokens) return;
  const bool goes_on = end == seq.length() && computed >= seq.prefill_end && !seq.ended;
  for (std::int64_t slot = seq.mtp_tokens; slot < end; ++slot)
    plan_.hidden_rows.push_back(
        slot == 0 ? -1 : static_cast<std::int32_t>(first_row + slot - 1 - seq.num_computed_tokens));
  plan(seq, seq.mtp_tokens, end, chunk.prompt, goes_on && most_drafts(seq, most) > 0);
}

// Takes the drafts that the plan gave, and plans the next ones behind them.
void Drafter::chain(std::int64_t most) {
  plan_.seqs.clear();
  plan_.hidden_rows.clear();
  const std::vector<Sequence*> drafted = std::exchange(drafted_, {});
  for (std::size_t i = 0; i < drafted.size(); ++i) {
    Sequence& seq = *drafted[i];
    const SampleResult& result = chooser_.result(i);
    if (result.status != SampleResult::Status::kChosen || chooser_.ends(seq, result.token.id))
      continue;  // nothing would come behind an end
    seq.tokens.push_back(result.token.id);
    ++seq.drafts;
    if (seq.drafts >= most_drafts(seq, most)) continue;
    plan_.hidden_rows.push_back(static_cast<std::int32_t>(i));
    const std::int64_t place = seq.length() + seq.drafts - 1;
    plan(seq, place, place + 1, /*prompt=*/false, /*drafts=*/true);
  }
}

// Adds tokens [begin, end) of a sequence to the plan.
void Drafter::plan(Sequence& seq, std::int64_t begin, std::int64_t end, bool prompt, bool drafts) {
  const auto tokens = seq.tokens.begin();
  const std::span<const std::int32_t> blocks = seq.blocks.ids();
  plan_.seqs.push_back({.token_ids = {tokens + begin, tokens + end},
                        .position = begin,
                        .block_table = {blocks.begin(), blocks.end()},
                        .prompt = prompt,
                        .num_hidden = drafts ? 1 : 0,
                        .num_logits = drafts ? 1 : 0});
  if (drafts) drafted_.push_back(&seq);
}

// Each but the last takes a slot of the layer's cache, and the token behind the last one must still be
// wanted.
std::int64_t Drafter::most_drafts(const Sequence& seq, std::int64_t most) const {
  const std::int64_t slots = std::ssize(seq.blocks.ids()) * block_size_ - seq.length();
  return std::min({most, seq.token_limit - seq.length() - 1, slots + 1});
}

}  // namespace latent8
