#include "quant/latent/latent_statistics.h"

#include <algorithm>
#include <cmath>

namespace latent8 {

LatentStatistics latent_statistics(const AttentionActivations& activations, float k_scale) {
  const std::int64_t rank = activations.run().config().kv_lora_rank;
  double sum = 0.0, count = 0.0, clipped = 0.0;
  float amax = 0.0F;
  activations.for_each_step(
      [&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts) {
        for (std::int64_t t = 0; t < step.tokens(); ++t) {
          if (counts[static_cast<std::size_t>(t)] == 0) continue;
          for (const float c : s.kv.view().row_span(t).first(static_cast<std::size_t>(rank))) {
            amax = std::max(amax, std::fabs(c));
            sum += double{c} * c;
            const float code = std::nearbyint(c / k_scale);
            clipped += code > 127.0F || code < -128.0F ? 1.0 : 0.0;
          }
          count += static_cast<double>(rank);
        }
      });
  if (count == 0.0) return {};
  return {amax, std::sqrt(sum / count), clipped / count};
}

}  // namespace latent8
