#pragma once

#include "formats/layer_schema.h"
#include "formats/safetensors.h"

namespace latent8 {

// Experts that are stored as two tensors per layer, as transformers has them in memory:
//   mlp.experts.gate_up_proj [n_routed_experts, 2 * moe_intermediate_size, hidden_size], gates first
//   mlp.experts.down_proj    [n_routed_experts, hidden_size, moe_intermediate_size]
// and, of fp8, with a scale per expert each: gate_up_proj_scale_inv and down_proj_scale_inv [experts, 1, 1].
// In their place come views of their parts, under the names that experts have one by one. Throws:
// Error{kCorrupt} for another shape, and for an expert that is stored in both ways.
void split_fused_experts(const ModelConfig& config, TensorMap& tensors);

}  // namespace latent8
