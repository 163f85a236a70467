#pragma once
// Which experts a token goes to.

#include <cstdint>
#include <span>
#include <vector>

#include "base/views.h"
#include "ops/context.h"

namespace latent8 {

struct Routing {
  std::int64_t top_k = 0;
  std::vector<std::int32_t> expert;  // [T, top_k]
  std::vector<float> weight;         // [T, top_k]
};

// How experts are chosen from a gate's logits. Equal scores go to the lower index.
struct RoutingRule {
  enum class Scores : std::uint8_t { kSigmoid, kSoftmax };
  Scores scores = Scores::kSoftmax;
  std::int64_t top_k = 1;
  // More than one group: only experts of the topk_group best groups are chosen. A group's score is its best expert's,
  // or the sum of its two best.
  std::int64_t n_group = 1, topk_group = 1;
  bool group_score_is_sum_of_two = false;
  bool normalise = false;  // weights are divided by their sum
  float scale = 1.0F;      // and multiplied by this
};

// Chooses experts for every token; threaded over the tokens.
//   logits [T, experts] f32 - overwritten by the scores
//   bias [experts] or empty - moves the choice, not the weights
void route(OpContext& ctx, const RoutingRule& rule, Mat<float> logits, std::span<const float> bias,
           Routing& out);

}  // namespace latent8
