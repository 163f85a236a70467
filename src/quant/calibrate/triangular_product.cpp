#include "quant/calibrate/triangular_product.h"

#include <algorithm>

#include "kernels/gemm_args.h"
#include "kernels/kernel_table.h"

namespace latent8 {

void add_triangular_product(const KernelTable& table, ConstMat<float> e, ConstMat<float> l, std::int64_t c0,
                            std::int64_t c1, float* scratch, Mat<float> y) {
  // As many columns as rows of L: that piece of L stays in the first-level cache for all rows of e.
  for (std::int64_t j = 0; j < c0; j += kTriangleBlock) {
    const std::int64_t cols = std::min(kTriangleBlock, c0 - j);
    table.gemm_nn_f32({e.data + c0, l.row(c0) + j, scratch, e.rows, cols, c1 - c0, e.row_stride, l.row_stride,
                       kTriangleBlock, WeightType::kF32, nullptr, 0, 0});
    for (std::int64_t r = 0; r < e.rows; ++r)
      for (std::int64_t c = 0; c < cols; ++c) y.row(r)[j + c] += scratch[r * kTriangleBlock + c];
  }
}

}  // namespace latent8
