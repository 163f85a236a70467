#pragma once
// Rotary frequencies and the softmax scale that goes with them.

#include "base/aligned_buffer.h"
#include "formats/model_config.h"
#include "ops/elementwise.h"

namespace latent8 {

// cos and sin of every position and pair, [max_position_embeddings, qk_rope_head_dim / 2], with YaRN as the
// config says. Frequencies and angles are rounded to fp32 as the models were trained with. Source: Peng et
// al., "YaRN", 2023; docs/numerics.md, "RoPE and YaRN".
class RopeFrequencies {
 public:
  explicit RopeFrequencies(const ModelConfig& config);
  RopeTable table() const { return {cos_.span(), sin_.span(), dim_}; }

 private:
  std::int64_t dim_;
  AlignedBuffer<float> cos_, sin_;
};

// qk_head_dim^-0.5, times get_mscale(factor, mscale_all_dim)^2 where the config sets mscale_all_dim.
float softmax_scale(const ModelConfig& config);

}  // namespace latent8
