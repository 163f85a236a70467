#include "model/gate.h"

namespace latent8 {

RoutingRule routing_rule(const ModelConfig& config) {
  const bool noaux = config.topk_method == "noaux_tc";
  return {.scores = config.scoring_func == "sigmoid" ? RoutingRule::Scores::kSigmoid
                                                     : RoutingRule::Scores::kSoftmax,
          .top_k = config.num_experts_per_tok,
          .n_group = config.n_group,
          .topk_group = config.topk_group,
          .group_score_is_sum_of_two = noaux,
          .normalise = config.norm_topk_prob,
          .scale = static_cast<float>(config.routed_scaling_factor)};
}

}  // namespace latent8
