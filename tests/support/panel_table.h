#pragma once
// A kernel table that packs codes as tiles would, in plain C++: whatever runs on it looks at no codes itself, and
// keeps to the sizes that the table states.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/activation_codes.h"
#include "kernels/gemm_args.h"
#include "kernels/kernel_table.h"

namespace latent8 {

// [m / 16][k / 64][16][16 rows][4], no sums. The scalar table's kernels otherwise, and its bits.
namespace panels {

inline constexpr std::int64_t kRows = 16, kDepth = 64;
inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t bytes(std::int64_t m, std::int64_t k) {
  return ceil_div(m, kRows) * kRows * ceil_div(k, kDepth) * kDepth;
}
inline std::int8_t& code(const ActivationCodes& a, std::int64_t row, std::int64_t d) {
  const std::int64_t panel = row / kRows * ceil_div(a.k, kDepth) + d / kDepth;
  return reinterpret_cast<std::int8_t*>(
      a.codes)[panel * kRows * kDepth + d % kDepth / 4 * kRows * 4 + row % kRows * 4 + d % 4];
}
inline void write_row(const ActivationCodes& to, std::int64_t row, const std::int8_t* codes) {
  for (std::int64_t d = 0; d < to.k; ++d) code(to, row, d) = codes[d];
  for (std::int64_t d = to.k; d < ceil_div(to.k, kDepth) * kDepth; ++d) code(to, row, d) = 0;
}
inline void quantize_dynamic(const QuantizeDynamicArgs& p) {
  std::vector<std::int8_t> q(static_cast<std::size_t>(p.to.k));
  for (std::int64_t i = 0; i < p.rows; ++i) {
    float* scale = p.to.scale + p.first_row + i;
    find_table("scalar").quantize_row_major({p.x + i * p.x_stride, q.data(), scale, 1, p.to.k, p.to.k});
    write_row(p.to, p.first_row + i, q.data());
  }
}
inline void quantize_static(const QuantizeStaticArgs& p) {
  std::vector<std::int8_t> q(static_cast<std::size_t>(p.to.k));
  for (std::int64_t i = 0; i < p.rows; ++i) {
    for (std::size_t d = 0; d < q.size(); ++d) {
      const float x = p.x[i * p.x_stride + static_cast<std::int64_t>(d)];
      q[d] = static_cast<std::int8_t>(std::clamp(std::nearbyint(x / p.scale + p.offset), -128.0F, 127.0F));
    }
    write_row(p.to, p.first_row + i, q.data());
  }
}
inline std::int64_t scratch_bytes(std::int64_t m, std::int64_t n, std::int64_t k) { return m * n * 4 + k; }
inline void gemm_s8(const GemmS8Args& p) {
  std::memset(p.scratch, 0x55, static_cast<std::size_t>(scratch_bytes(p.m, p.n, p.a.k)));
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.n; ++j) {
      const std::int64_t row = p.row_begin + i;
      std::int32_t sum = p.bias != nullptr ? p.bias[j] : 0;
      for (std::int64_t d = 0; d < p.a.k; ++d) sum += code(p.a, row, d) * p.b[j * p.a.k + d];
      const float scale = (p.a.scale != nullptr ? p.a.scale[row] : 1.0F) * p.b_scale[j];
      p.c[i * p.c_stride + j] = static_cast<float>(sum) * scale;
    }
}

}  // namespace panels

inline KernelTable panel_table() {
  KernelTable table = find_table("scalar");
  table.name = "panels";
  table.code_bytes = &panels::bytes;
  table.code_rows = panels::kRows;
  table.quantize_dynamic = &panels::quantize_dynamic;
  table.quantize_static = &panels::quantize_static;
  table.gemm_rows = 32;
  table.gemm_cols = 48;
  table.gemm_s8 = &panels::gemm_s8;
  table.gemm_s8_scratch_bytes = &panels::scratch_bytes;
  table.attend_rows = 32;
  return table;
}

}  // namespace latent8
