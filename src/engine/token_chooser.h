#pragma once
// What a step's rows of logits are wanted for, and what comes of them.

#include <cstdint>
#include <span>
#include <vector>

#include "base/views.h"
#include "engine/sampler.h"
#include "engine/sequence.h"
#include "engine/step_masks.h"
#include "model/step_runner.h"
#include "ops/context.h"

namespace latent8 {

// A row of logits: what comes at `place` of the sequence, the tokens before it (drafts too) being given.
struct LogitsRow {
  enum class Use : std::uint8_t {
    kChoose,  // the token is chosen
    kDraft,   // likewise, but it is a guess: no logprobs
    kScore,   // it is of the prompt, and its logprob is told
  };

  Sequence* seq = nullptr;
  std::int64_t place = 0;
  Use use = Use::kChoose;
};

// Evaluates the rows of a step, all threads at once. Drafts are chosen as tokens are, by the same random
// number, penalties and mask: so logits that are nearly those of the model choose the same token as often as
// can be. Thread-safety: none; the engine thread's.
class TokenChooser {
 public:
  TokenChooser(OpContext& ctx, std::int64_t vocab_size, std::vector<std::int32_t> eos_token_ids);

  // Runs a step whose logits are for `rows`; rows of a sequence are neighbours, in order. Masks are computed
  // meanwhile and left as they were. Throws: as StepRunner::run.
  StepResult run(StepRunner& runner, const StepPlan& plan, std::vector<LogitsRow> rows);

  std::span<const LogitsRow> rows() const { return rows_; }
  const SampleResult& result(std::size_t row) const { return results_[row]; }
  // Whether a token that is chosen for the sequence is its last.
  bool ends(const Sequence& seq, std::int32_t token) const;

 private:
  void begin(std::vector<LogitsRow> rows);
  void restrict_rows(std::size_t first);
  void take(std::int64_t first_row, ConstMat<float> logits);
  SampleResult evaluate(std::size_t row, std::span<const float> logits, Sampler& sampler);

  OpContext& ctx_;
  std::size_t mask_words_;
  std::vector<std::int32_t> eos_token_ids_;
  std::vector<Sampler> samplers_;  // one per thread
  std::vector<LogitsRow> rows_;
  std::vector<SampleResult> results_;                // of each row
  std::vector<std::vector<std::uint64_t>> allowed_;  // likewise; empty: every token
  std::vector<std::size_t> masked_;                  // the first row of each sequence that has a mask
  std::vector<std::size_t> mask_of_;                 // of each row: which of masked_
  StepMasks masks_;                                  // of masked_
};

}  // namespace latent8
