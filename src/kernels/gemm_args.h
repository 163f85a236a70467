#pragma once
// Arguments of the matrix products.

#include <cstdint>

#include "kernels/activation_codes.h"
#include "kernels/weight_type.h"

namespace latent8 {

// c[m, n] = sum_k a[m, k] * b[n, k], weights widened to fp32, fp32 accumulation.
struct GemmF32Args {
  const float* a;  // [m, k], rows a_stride apart
  const void* b;   // [n, k] of b_type, rows b_stride elements apart
  float* c;        // [m, n], rows c_stride apart
  std::int64_t m, n, k;
  std::int64_t a_stride, b_stride, c_stride;  // in elements
  WeightType b_type;
  // fp8 only: one scale per 128 x 128 block of the whole tensor; b starts at row b_row0 and column 0 of it.
  const float* b_scale;  // [ceil(rows / 128), b_scale_stride]
  std::int64_t b_scale_stride;
  std::int64_t b_row0;
};

// c[m, n] = sum_k a[m, k] * b[k, n]: b is read along its rows. Same fields; b [k, n], b_row0 counts rows of
// b.
using GemmNnF32Args = GemmF32Args;

// The longest row of codes: k * 255 * 127, what a sum of u8 x s8 products can reach, fits int32. A model with a
// longer int8 linear must be refused.
inline constexpr std::int64_t kMaxCodesPerRow = 65'536;
// The largest magnitude of GemmS8Args::bias with which no sum of k products overflows int32.
constexpr std::int64_t max_bias_magnitude(std::int64_t k) { return (std::int64_t{1} << 31) - 1 - k * 128 * 128; }

// c[m, n] = (sum_k a[m, k] * b[n, k] + bias[n]) * (a.scale[m] * b_scale[n]); the sum and the bias in exact
// int32, a missing scale is 1.
struct GemmS8Args {
  ActivationCodes a;            // written by the same table; k = a.k <= kMaxCodesPerRow
  std::int64_t row_begin, m;  // rows [row_begin, row_begin + m) of a; row_begin a multiple of code_rows
  const std::int8_t* b;       // [n, a.k] dense, in [-128, 127]
  std::int64_t n;
  float* c;  // [m, n], rows c_stride apart
  std::int64_t c_stride;
  const float* b_scale;      // [n]
  const std::int32_t* bias;  // [n] of at most max_bias_magnitude(k), nullptr means 0
  void* scratch;             // KernelTable::gemm_s8_scratch_bytes(m, n, k), 64-byte aligned
};

}  // namespace latent8
