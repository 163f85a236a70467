#include "ops/elementwise.h"

namespace latent8 {
namespace {

constexpr std::int64_t kRows = 8;  // per piece of a parallel loop; a few KiB at least

}  // namespace

void rms_norm(OpContext& ctx, ConstMat<float> x, const Norm& norm, float eps, Mat<float> out) {
  LATENT8_DCHECK(static_cast<std::int64_t>(norm.weight.size()) == x.cols);
  ctx.pool().parallel_for(x.rows, kRows, [&](std::int64_t begin, std::int64_t end, int) {
    const float* bias = norm.bias.empty() ? nullptr : norm.bias.data();
    ctx.kernels().rms_norm({x.row(begin), out.row(begin), norm.weight.data(), bias, end - begin, x.cols,
                            x.row_stride, out.row_stride, eps});
  });
}

void rope(OpContext& ctx, Mat<float> x, std::int64_t heads, std::int64_t head_stride, std::int64_t first,
          std::span<const std::int32_t> positions, const RopeTable& table) {
  ctx.pool().parallel_for(x.rows, kRows, [&](std::int64_t begin, std::int64_t end, int) {
    ctx.kernels().rope({x.row(begin) + first, positions.data() + begin, table.cos.data(), table.sin.data(),
                        end - begin, heads, table.dim, x.row_stride, head_stride});
  });
}

void silu_mul(OpContext& ctx, ConstMat<float> gate, ConstMat<float> up, Mat<float> out) {
  ctx.pool().parallel_for(gate.rows, kRows, [&](std::int64_t begin, std::int64_t end, int) {
    ctx.kernels().silu_mul({gate.row(begin), up.row(begin), out.row(begin), end - begin, gate.cols,
                            gate.row_stride, up.row_stride, out.row_stride});
  });
}

void add_inplace(OpContext& ctx, Mat<float> x, ConstMat<float> y) {
  ctx.pool().parallel_for(x.rows, kRows, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* to = x.row(r);
      const float* from = y.row(r);
      for (std::int64_t i = 0; i < x.cols; ++i) to[i] += from[i];
    }
  });
}

}  // namespace latent8
