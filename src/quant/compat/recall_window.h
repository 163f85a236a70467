#pragma once
// The reference's clipping of outliers. Source: docs/format.md, "The reference's windows".

#include <span>

#include "quant/compat/statistics.h"

namespace latent8::compat {

// The share of values that fa_q and fa_k keep; fa_v keeps all.
inline constexpr double kRecallRatio = 0.9999;

// The narrowest interval that holds int(ratio * n) of the values; the lowest one on a tie. Reorders `values`.
// REQUIRES: ratio * n >= 1.
Range recall_window(std::span<float> values, double ratio);

}  // namespace latent8::compat
