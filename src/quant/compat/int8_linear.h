#pragma once
// The reference's int8 weights and what a static linear stores beside them.
// Source: docs/format.md, "Quantised linears".

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/dtype.h"
#include "quant/compat/statistics.h"
#include "sys/thread_pool.h"

namespace latent8::compat {

struct Int8Weight {
  Matrix<std::int8_t> codes;  // [out, in]
  std::vector<float> scale;   // [out]
};
// clamp(rint(r(w / scale)), -127, 127): the quotient is rounded to `type` before it becomes an integer.
Int8Weight quantize_weight(ThreadPool& pool, DType type, const Matrix<float>& weight);

// The weight as the reference calibrates with it: r(code * scale), codes from -128.
void fake_quantize_weight(ThreadPool& pool, DType type, Matrix<float>& weight);

struct StaticTensors {
  std::vector<float> deq_scale;          // [out] r(input scale * weight scale)
  std::vector<std::int32_t> quant_bias;  // [out]
};
//   bias [out] or empty
StaticTensors static_tensors(DType type, const Int8Weight& weight, const StaticInput& input,
                             const std::vector<float>& bias);

}  // namespace latent8::compat
