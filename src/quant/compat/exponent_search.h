#pragma once
// m6's search for the exponents of its scale. Source: docs/format.md, "The reference's smoothing"; its
// details are public in msModelSlim's flex_smooth/alpha_beta_search.py.

#include "ops/context.h"
#include "quant/compat/layer_tensors.h"
#include "quant/compat/statistics.h"

namespace latent8::compat {

// Tries alpha = 0, 0.05, .. 1 with beta = 1 - alpha, then beta on the same grid, and keeps the exponents with
// the least error of the linears' outputs, the later ones on a tie. Weights are fake-quantised per row, the
// input per tensor and asymmetrically; everything is rounded to `type`, the error too, so that many
// candidates tie.
//   input [tokens, in] of `type`
Exponents search_exponents(OpContext& ctx, DType type, const Matrix<float>& input,
                           const GroupStatistics& statistics, const std::vector<LinearTensors*>& linears);

}  // namespace latent8::compat
