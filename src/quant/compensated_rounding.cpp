#include "quant/compensated_rounding.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace latent8 {
namespace {

constexpr float kMaxCode = 127.0F;
constexpr std::int64_t kRows = 16;   // of one piece of the parallel loop
constexpr std::int64_t kBlock = 64;  // columns whose feedback from later blocks is one product

// Columns [c0, c1) of one row. feedback [c1 - c0] comes in with what the errors from c1 on contribute.
void round_block(const float* w, ConstMat<float> l, float scale, std::int64_t c0, std::int64_t c1,
                 float* feedback, float* error, std::int8_t* codes) {
  for (std::int64_t k = c1 - 1; k >= c0; --k) {
    const float code = std::clamp(std::nearbyint((w[k] + feedback[k - c0]) / scale), -kMaxCode, kMaxCode);
    codes[k] = static_cast<std::int8_t>(code);
    error[k] = w[k] - code * scale;
    const float* row = l.row(k);
    for (std::int64_t c = c0; c < k; ++c) feedback[c - c0] += error[k] * row[c];
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
  ctx.reserve_worker_scratch(kRows * (n + kBlock) * static_cast<std::int64_t>(sizeof(float)));
  ctx.pool().parallel_for(w.rows, kRows, [&](std::int64_t begin, std::int64_t end, int worker) {
    auto* error = static_cast<float*>(ctx.worker_scratch(worker));  // [rows, n]
    float* feedback = error + kRows * n;                            // [rows, kBlock]
    for (std::int64_t c0 = (n - 1) / kBlock * kBlock; c0 >= 0; c0 -= kBlock) {
      const std::int64_t c1 = std::min(c0 + kBlock, n);
      std::fill_n(feedback, kRows * kBlock, 0.0F);
      if (c1 < n)
        ctx.kernels().gemm_nn_f32({error + c1, l.row(c1) + c0, feedback, end - begin, c1 - c0, n - c1, n,
                                   l.row_stride, kBlock, WeightType::kF32, nullptr, 0, 0});
      for (std::int64_t r = begin; r < end; ++r)
        round_block(w.row(r), l, scale[static_cast<std::size_t>(r)], c0, c1, feedback + (r - begin) * kBlock,
                    error + (r - begin) * n, out.codes.row(r));
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
