#pragma once
// Activations as int8 codes.

#include <cstddef>
#include <cstdint>

namespace latent8 {

// m rows of k codes in [-128, 127], quantised for gemm_s8, in an order that only the kernels of the table that
// wrote them know: rows with the sums of their codes for VNNI, [k / 64][16][16 rows][4] without sums for tiles.
// The order may depend on m and k. Rows of one ActivationCodes are written in any order, by several threads if
// each takes whole multiples of KernelTable::code_rows; a row that is read must have been written.
// Ownership: of nothing.
struct ActivationCodes {
  std::byte* codes = nullptr;  // KernelTable::code_bytes(m, k), 64-byte aligned
  float* scale = nullptr;      // [m]; nullptr where one scale serves the tensor (static)
  std::int64_t m = 0, k = 0;
};

// Row first_row + i of `to` = clamp(rint(x[i] / scale[i]), -128, 127) with scale[i] = amax / 127, amax of the
// numbers of the row. A row of zeros has scale 0, codes 0; NaN has code 0; a row with an infinite value has an
// infinite scale and codes 0.
struct QuantizeDynamicArgs {
  const float* x;  // [rows, to.k], rows x_stride apart
  ActivationCodes to;
  std::int64_t first_row, rows, x_stride;
};

// Row first_row + i of `to` = clamp(rint(x[i] / scale + offset), -128, 127), one scale and offset per tensor; NaN
// has code 0.
struct QuantizeStaticArgs {
  const float* x;  // [rows, to.k], rows x_stride apart
  ActivationCodes to;
  std::int64_t first_row, rows, x_stride;
  float scale;
  float offset;
};

// As QuantizeDynamicArgs, into plain rows: what attention takes as queries, and for callers that look at codes.
struct QuantizeRowMajorArgs {
  const float* x;  // [m, k], rows x_stride apart
  std::int8_t* q;  // [m, k] dense
  float* scale;    // [m]
  std::int64_t m, k, x_stride;
};

}  // namespace latent8
