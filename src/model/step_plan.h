#pragma once
// One step as plain data: what it computes, and what came of it. Whoever runs a model says it this way: the
// scheduler, the evaluation, benchmarks, tests.

#include <cstdint>
#include <span>
#include <vector>

#include "base/views.h"

namespace latent8 {

// What a step computes of one sequence. A prompt comes in one or more chunks of any size; a sequence that
// decodes has one token, or with k drafts k + 1 and asks for as many rows of logits.
struct SequencePlan {
  std::vector<std::int32_t> token_ids;    // [n] neighbours in the sequence, n >= 1
  std::int64_t position = 0;              // of the first of them
  std::vector<std::int32_t> block_table;  // the sequence's blocks: room for position + n tokens
  bool prompt = false;          // prompt tokens attend as Prefill says, others as generated tokens do
  std::int64_t num_hidden = 0;  // the last so many tokens' hidden states are kept,
  std::int64_t num_logits = 0;  // and of the last so many logits are computed

  std::int64_t tokens() const { return static_cast<std::int64_t>(token_ids.size()); }
};

struct StepPlan {
  enum class Layers : std::uint8_t {
    kModel,  // embedding, all decoder layers, final norm
    kMtp,    // the MTP layer: each token goes with the hidden state of the one before it
  };

  Layers layers = Layers::kModel;
  std::vector<SequencePlan> seqs;  // B
  // kMtp: [T] the row of the step before's hidden states that goes with each token, -1 for zeros. Rows of a
  // kModel step are of the tokens before; rows of a kMtp step chain: the row of the last token goes on with
  // the token that it predicts. Whether positions count from a sequence's first token, so that an entry of
  // the cache depends on no later one, or from its second, as the model was trained, is one to its arithmetic
  // but for rounding: they are relative.
  std::vector<std::int32_t> hidden_rows;

  std::int64_t tokens() const;  // T
  // [B + 1] Rows of sequence b in StepResult::hidden, and among the rows of logits: [begin[b], begin[b + 1]).
  std::vector<std::int64_t> hidden_begin() const;
  std::vector<std::int64_t> logits_begin() const;
};

struct StepResult {
  // [H, hidden_size] after the final norm (kMtp: after shared_head.norm), sequence after sequence.
  ConstMat<float> hidden;
  // [num_hidden_layers + 1] latent codes of this step beyond [-128, 127]; the MTP layer last.
  std::span<const std::int64_t> clipped_codes;
};

}  // namespace latent8
