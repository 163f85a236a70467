#include "quant/calibrate/down_error.h"

#include <cmath>

#include "kernels/activation_codes.h"
#include "kernels/kernel_table.h"

namespace latent8 {

void DownError::add(CalibrationRun& run, const Linear& down, ConstMat<float> input,
                    std::span<const std::uint8_t> counts) {
  OpContext& ctx = run.ctx();
  const std::int64_t T = input.rows, n = input.cols;
  Matrix<float> rounding(T, n), change(T, down.out_features);
  ctx.reserve_worker_scratch(n);
  ctx.pool().parallel_for(T, 8, [&](std::int64_t begin, std::int64_t end, int worker) {
    auto* q = static_cast<std::int8_t*>(ctx.worker_scratch(worker));
    for (std::int64_t t = begin; t < end; ++t) {
      float scale = 0.0F;
      ctx.kernels().quantize_row_major({input.row(t), q, &scale, 1, n, n});
      for (std::int64_t c = 0; c < n; ++c)
        rounding.row(t)[c] = static_cast<float>(q[c]) * scale - input.row(t)[c];
    }
  });
  linear(ctx, down, rounding.view(), change.view());
  const Scratch& s = run.scratch();
  const double scale = run.config().residual_scale();
  for (std::int64_t t = 0; t < T; ++t) {
    if (counts[static_cast<std::size_t>(t)] == 0) continue;
    double changed = 0.0, stream = 1e-30;
    for (std::int64_t c = 0; c < change.cols(); ++c) {
      const double d = scale * change.row(t)[c], x = s.x.row(t)[c] + scale * s.delta.row(t)[c];
      changed += d * d;
      stream += x * x;
    }
    sum_ += changed / stream;
    ++tokens_;
  }
}

double DownError::value() const {
  return tokens_ == 0 ? 0.0 : std::sqrt(sum_ / static_cast<double>(tokens_));
}

}  // namespace latent8
