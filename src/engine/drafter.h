#pragma once
// Guesses the next tokens by the MTP layer, whose cache follows that of the model.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/scheduler.h"
#include "engine/token_chooser.h"
#include "model/step_runner.h"

namespace latent8 {

// Slot p of the MTP layer's cache holds the entry of token p and the hidden state of token p - 1 (of token 0:
// zeros), so that a block of the cache depends only on the tokens in it and before it. A sequence whose MTP
// layer has fallen behind, because it rested or had no block, is not drafted for until it is computed again.
// Ownership: refers to runner and chooser, which must outlive it. Thread-safety: none; the engine thread's.
class Drafter {
 public:
  Drafter(StepRunner& runner, TokenChooser& chooser, std::int64_t block_size)
      : runner_(runner), chooser_(chooser), block_size_(block_size) {}

  // How many hidden states of the chunk the model step has to keep.
  static std::int64_t hidden_rows(const Chunk& chunk) {
    return chunk.seq->mtp_follows() ? chunk.tokens + chunk.drafts : 0;
  }
  // Comes after a model step that kept hidden_rows() of each chunk, when its tokens have been chosen, before
  // the scheduler advances. Sequences that go on get up to `most` drafts; 0: the layer only follows.
  void run(std::span<const Chunk> chunks, std::int64_t most);

 private:
  void follow(const Chunk& chunk, std::int64_t first_row, std::int64_t most);
  void chain(std::int64_t most);
  void plan(Sequence& seq, std::int64_t begin, std::int64_t end, bool prompt, bool drafts);
  std::int64_t most_drafts(const Sequence& seq, std::int64_t most) const;

  StepRunner& runner_;
  TokenChooser& chooser_;
  std::int64_t block_size_;
  StepPlan plan_;
  std::vector<Sequence*> drafted_;  // whose next draft the plan gives, in its order
};

}  // namespace latent8
