#pragma once
// Which form of the latent a layer stores: the basis and the scale of its codes, chosen by what attention on
// the codes does to the residual stream.

#include <string>
#include <vector>

#include "latent8/quantize.h"
#include "quant/calibrate/layer_activations.h"
#include "quant/latent/latent_fold.h"
#include "quant/weights/working_layer.h"

namespace latent8 {

struct LatentChoice {
  LatentFold fold;
  float k_scale = 1.0F;                            // value of the stored type
  double error = 0.0;                              // of the choice
  double plain_error = 0.0;                        // of no fold and the largest value as the range
  std::vector<LayerReport::Candidate> candidates;  // one per name of a fold, its best
};

// What a choice may be made of.
struct LatentChoices {
  bool rotate = true;  // kv_a_proj_with_mqa must have no bias then: it would stay as it is
  bool fold = true;
  bool float_weights = false;  // kv_a_proj_with_mqa is stored in float too
  DType dtype = DType::kBf16;  // of scales and float tensors
};

// Errors are sqrt(mean over tokens of |attention(codes) - attention(float)|^2 / |residual stream|^2), of the
// first prompts, with the int8 operator that runs later.
//   activations  of the float run
//   stream       [tokens, hidden_size] residual stream behind attention
LatentChoice choose_latent(const WorkingLayer& working, std::int64_t layer,
                           const AttentionActivations& activations, const ActivationStore& stream,
                           const LatentChoices& choices);

// Puts the folded weights into `working` (kv_a_proj_with_mqa, kv_a_layernorm, kv_b_proj), those that are
// stored in float rounded, and the latent of the folded weights into `activations`.
void take_fold(WorkingLayer& working, std::int64_t layer, const LatentFold& fold,
               const LatentChoices& choices, AttentionActivations& activations);

}  // namespace latent8
