#pragma once
// Which experts a token goes to.

#include <span>

#include "base/views.h"
#include "formats/model_config.h"
#include "ops/grouped_mlp.h"

namespace latent8 {

// Chooses num_experts_per_tok experts per token from the gate's logits.
//   logits [T, n_routed_experts] f32 - overwritten by the scores
//   bias [n_routed_experts] or empty - e_score_correction_bias: moves the choice, not the weights
// noaux_tc (V3): sigmoid scores; a group's score is the sum of its two best biased scores; experts outside
// the topk_group best groups are out. group_limited_greedy (V2): softmax, a group's score is its best.
// greedy: softmax, no groups. Equal scores go to the lower index. Weights are the unbiased scores, divided by
// their sum if norm_topk_prob, times routed_scaling_factor. Source: DeepSeek-V3 report 2.1.2;
// docs/numerics.md, "Gate".
void route(const ModelConfig& config, Mat<float> logits, std::span<const float> bias, Routing& out);

}  // namespace latent8
