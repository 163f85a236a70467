#pragma once
// How often the MTP layer guesses what the model says next.

#include <cstdint>
#include <span>
#include <vector>

#include "eval/divergence.h"

namespace latent8 {

struct DraftAcceptance {
  double accepted =
      0.0;            // share of predictions where its likeliest token is the model's, as greedy drafts are
  double text = 0.0;  // where it is the one of the text
  double model_text = 0.0;  // where the model's is
  std::int64_t windows = 0;
  std::int64_t predictions = 0;
};

// On windows as text_windows() cuts them, of which the first tokens are context only. The layer's positions
// are those that it was trained with. REQUIRES: model.has_mtp(). Throws: as check_sequence().
DraftAcceptance measure_draft_acceptance(OpContext& ctx, const EvalModel& model,
                                         std::span<const std::vector<std::int32_t>> windows,
                                         const EvalProgress& progress = {});

}  // namespace latent8
