#pragma once
// How large a layer's latent is.

#include "quant/calibrate/layer_activations.h"

namespace latent8 {

// Over the tokens that count.
struct LatentStatistics {
  double amax = 0.0, rms = 0.0;
  double clipped = 0.0;  // share of values beyond the range of codes
};

LatentStatistics latent_statistics(const AttentionActivations& activations, float k_scale);

}  // namespace latent8
