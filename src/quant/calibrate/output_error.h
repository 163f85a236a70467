#pragma once
// What int8 weights change in the outputs of a linear, over the inputs whose second moment is known.

#include "ops/context.h"
#include "quant/calibrate/hessian.h"
#include "quant/weights/weight_quantizer.h"

namespace latent8 {

// Squares of |x dW^T| / |x W^T| summed over linears, each over all rows x of its Hessian. Inputs are in
// float.
struct OutputErrors {
  double nearest = 0.0;  // weights rounded to nearest
  double written = 0.0;  // as they are
  std::int64_t linears = 0;

  // One linear, of whose outputs one piece of 16 in 8 is looked at: more would say the same.
  //   w       [out, in]
  //   q       its codes and the scales that they are multiplied by
  void add(OpContext& ctx, ConstMat<float> w, const QuantizedWeight& q, const HessianFactor& factor);
  void add(const OutputErrors& other);
};

}  // namespace latent8
