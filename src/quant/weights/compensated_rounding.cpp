#include "quant/weights/compensated_rounding.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "quant/calibrate/triangular_product.h"
#include "quant/weights/rounding.h"

namespace latent8 {
namespace {

// Of one piece of the parallel loop: L is read once for each.
constexpr std::int64_t kLeastRows = 16, kMostRows = 64;

// Columns [c0, c1) of one row. feedback [n] comes in with what the errors from c1 on contribute; in [c0, c1)
// errors take its place.
void round_block(const float* w, ConstMat<float> l, float scale, std::int64_t c0, std::int64_t c1,
                 float* feedback, std::int8_t* codes) {
  for (std::int64_t k = c1 - 1; k >= c0; --k) {
    const float code = std::clamp(std::nearbyint((w[k] + feedback[k]) / scale), -kMaxCode, kMaxCode);
    codes[k] = static_cast<std::int8_t>(code);
    const float error = w[k] - code * scale, *row = l.row(k);
    feedback[k] = error;
    for (std::int64_t c = c0; c < k; ++c) feedback[c] += error * row[c];
  }
}

}  // namespace

QuantizedWeight quantize_compensated(OpContext& ctx, ConstMat<float> w, ConstMat<float> l,
                                     std::vector<float> scale) {
  const std::int64_t n = w.cols;
  LATENT8_CHECK_EQ(l.rows, n);
  LATENT8_CHECK_EQ(static_cast<std::int64_t>(scale.size()), w.rows);
  QuantizedWeight out;
  out.codes = Matrix<std::int8_t>(w.rows, n);
  out.row_sum.resize(scale.size());
  const std::int64_t share = (w.rows + ctx.pool().threads() - 1) / ctx.pool().threads();
  const std::int64_t rows = std::clamp(share, kLeastRows, kMostRows);
  ctx.reserve_worker_scratch((rows * n + triangular_scratch(rows)) *
                             static_cast<std::int64_t>(sizeof(float)));
  ctx.pool().parallel_for(w.rows, rows, [&](std::int64_t begin, std::int64_t end, int worker) {
    auto* values = static_cast<float*>(ctx.worker_scratch(worker));
    const Mat<float> feedback(values, end - begin, n);
    std::fill_n(values, (end - begin) * n, 0.0F);
    for (std::int64_t c0 = (n - 1) / kTriangleBlock * kTriangleBlock; c0 >= 0; c0 -= kTriangleBlock) {
      const std::int64_t c1 = std::min(c0 + kTriangleBlock, n);
      for (std::int64_t r = begin; r < end; ++r)
        round_block(w.row(r), l, scale[static_cast<std::size_t>(r)], c0, c1, feedback.row(r - begin),
                    out.codes.row(r));
      add_triangular_product(ctx.kernels(), feedback, l, c0, c1, values + rows * n, feedback);
    }
    for (std::int64_t r = begin; r < end; ++r) {
      std::int64_t sum = 0;
      for (std::int64_t c = 0; c < n; ++c) sum += out.codes.row(r)[c];
      out.row_sum[static_cast<std::size_t>(r)] = sum;
    }
  });
  out.scale = std::move(scale);
  return out;
}

}  // namespace latent8
