#pragma once
// Double-precision references of the linear kernels, for tests and for the quantiser: plain C++, slow. They
// take the kernels' own arguments, or plain rows where those hold opaque codes, and return what c would hold,
// dense.

#include <cstdint>
#include <vector>

#include "kernels/elementwise_args.h"
#include "kernels/gemm_args.h"
#include "kernels/weight_rows.h"

namespace latent8 {

struct RealMatrix {
  std::vector<double> value;      // [m, n]
  std::vector<double> magnitude;  // [m, n] sum over k of |a * b|, the scale of rounding errors
};

RealMatrix gemm_f32_ref(const GemmF32Args& p);
RealMatrix gemm_nn_f32_ref(const GemmNnF32Args& p);

// GemmS8Args with the codes as plain rows.
struct GemmS8RefArgs {
  const std::int8_t* a;  // [m, k]
  const std::int8_t* b;  // [n, k]
  std::int64_t m, n, k;
  const float* a_scale;      // [m], nullptr means 1
  const float* b_scale;      // [n]
  const std::int32_t* bias;  // [n], nullptr means 0
};
// Exactly what the kernels must write: an integer sum and bias, then the two roundings that the contract
// states.
std::vector<float> gemm_s8_ref(const GemmS8RefArgs& p);

struct QuantizedRef {
  std::vector<std::int8_t> q;     // [m, k]
  std::vector<float> scale;       // [m], dynamic only
  std::vector<std::int32_t> sum;  // [m]
};

// x [m, k], rows x_stride apart
QuantizedRef quantize_dynamic_ref(const float* x, std::int64_t m, std::int64_t k, std::int64_t x_stride);
QuantizedRef quantize_static_ref(const float* x, std::int64_t m, std::int64_t k, std::int64_t x_stride,
                                 float scale, float offset);

// The weights as fp32, what the kernels must write.
std::vector<float> widen_weight_ref(const WeightRows& p);                // [m, k]
std::vector<float> weight_amax_ref(const WeightRows& p);                 // [m]
QuantizedRef weight_codes_ref(const WeightRows& p, const float* scale);  // its scale stays empty

std::vector<double> rms_norm_ref(const RmsNormArgs& p);  // [m, n]
std::vector<double> rope_ref(const RopeArgs& p);         // [m, heads, dim]; p.x is only read
std::vector<double> silu_mul_ref(const SiluMulArgs& p);  // [m, n]

}  // namespace latent8
