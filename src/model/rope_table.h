#pragma once
// Rotary frequencies and the softmax scale that goes with them.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/aligned_buffer.h"
#include "formats/model_config.h"
#include "ops/elementwise.h"

namespace latent8 {

// cos and sin of every position and pair, [context_limit(), qk_rope_head_dim / 2], with YaRN or LongRoPE as
// the config says. Frequencies and angles are rounded to fp32 as the models were trained with. Source: Peng
// et al., "YaRN", 2023; Ding et al., "LongRoPE", 2024; docs/numerics.md, "RoPE and YaRN", "LongRoPE".
// Positions are computed, and their memory used, when they are first asked for: a config may promise
// millions. Thread-safety: all functions; tables stay valid and grow in place.
class RopeFrequencies {
 public:
  explicit RopeFrequencies(const ModelConfig& config);
  // Filled for positions below `positions` (capped at the context's end) at least.
  RopeTable table(std::int64_t positions) const;
  RopeTable table() const { return table(max_positions_); }  // for every position

 private:
  std::int64_t dim_, max_positions_;
  std::vector<float> frequencies_;  // [dim / 2] radians per position
  mutable std::mutex mutex_;        // of filling
  mutable std::atomic<std::int64_t> filled_{0};
  mutable AlignedBuffer<float> cos_, sin_;
  double magnitude_;
  bool halves_;
};

// qk_head_dim^-0.5, times get_mscale(factor, mscale_all_dim)^2 where the config sets mscale_all_dim.
float softmax_scale(const ModelConfig& config);

}  // namespace latent8
