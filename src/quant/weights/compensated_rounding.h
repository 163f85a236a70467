#pragma once
// Rounding weights so that their errors cancel in the outputs.

#include "ops/context.h"
#include "quant/calibrate/hessian.h"
#include "quant/weights/weight_quantizer.h"

namespace latent8 {

// Rounds the columns of w from the last to the first; each takes over, before it is rounded, what the errors
// of the columns after it do to the outputs and what it can make good: w[k] + sum over j > k of L[j, k] *
// error[j] is rounded to the nearest code. Source: the feedback form of GPTQ (Frantar et al. 2022), LDLQ
// (Chee et al. 2023).
//   w      [out, in]
//   l      [in, in] of a HessianFactor
//   scale  [out] values of the stored type
QuantizedWeight quantize_compensated(OpContext& ctx, ConstMat<float> w, ConstMat<float> l,
                                     std::vector<float> scale);

}  // namespace latent8
