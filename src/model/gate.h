#pragma once
// How the family's models choose experts.

#include "formats/model_config.h"
#include "ops/routing.h"

namespace latent8 {

// noaux_tc (V3): sigmoid scores; a group's score is the sum of its two best biased scores; experts outside
// the topk_group best groups are out. group_limited_greedy (V2): softmax, a group's score is its best.
// greedy: softmax, no groups. Weights are the unbiased scores, divided by their sum if norm_topk_prob, times
// routed_scaling_factor. Source: DeepSeek-V3 report 2.1.2 (arXiv 2412.19437);
// docs/numerics.md, "Gate".
RoutingRule routing_rule(const ModelConfig& config);

}  // namespace latent8
