#pragma once
// Arguments of the kernels that read stored weights row by row: widening them, and quantising them.

#include <cstdint>

#include "kernels/weight_type.h"

namespace latent8 {

// Rows of a stored weight. Element [i, j] is ((w[i, j] * block_scale) * row_scale[i]) * col_scale[j], every
// product rounded to fp32.
struct WeightRows {
  const void* w = nullptr;  // [m, k] dense, of `type`
  WeightType type = WeightType::kF32;
  std::int64_t m = 0, k = 0;
  // fp8 only: one scale per 128 x 128 block of the whole tensor, below kMaxBlockScale; row 0 of w is row
  // `row0` of the tensor.
  const float* block_scale = nullptr;  // [ceil(rows / 128), block_scale_stride]
  std::int64_t block_scale_stride = 0, row0 = 0;
  const float* row_scale = nullptr;  // [m], nullptr means 1
  const float* col_scale = nullptr;  // [k], nullptr means 1
};
inline constexpr float kMaxBlockScale = 0x1p119F;  // 2^8 of it, and that times 448, are numbers of fp32

// out[m, k]: the weights as fp32.
struct WidenWeightArgs {
  WeightRows rows;
  float* out;  // [m, k] dense
};

// amax[m]: the largest magnitude of the row; NaN if a weight of it is NaN or infinite.
// REQUIRES: no row_scale, no col_scale.
struct WeightAmaxArgs {
  WeightRows rows;
  float* amax;  // [m]
};

// q[m, k] = clamp(rint(weight / scale[m]), -127, 127): the quotient is rounded to fp32, ties go to even.
// REQUIRES: no row_scale, no col_scale; k <= 16,777,216. A row with a NaN, and one with a scale that is not
// in [2^-100, 2^126] or is less than 2^-30 of the row's largest magnitude, gets any codes.
struct WeightCodesArgs {
  WeightRows rows;
  const float* scale;  // [m]
  std::int8_t* q;      // [m, k] dense
  std::int32_t* sum;   // [m] sum over k of q
};

}  // namespace latent8
