#include "ops/elementwise.h"

#include "kernels/elementwise_args.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

constexpr std::int64_t kRowsPerPart = 8;  // per part of a parallel loop; a few KiB at least

void add_rows(Mat<float> x, ConstMat<float> y, float scale) {
  for (std::int64_t r = 0; r < x.rows; ++r) {
    float* to = x.row(r);
    const float* from = y.row(r);
    for (std::int64_t i = 0; i < x.cols; ++i) to[i] += scale * from[i];
  }
}

}  // namespace

void norm_rows(const KernelTable& table, ConstMat<float> x, const Norm& norm, float eps, Mat<float> out) {
  const float* bias = norm.bias.empty() ? nullptr : norm.bias.data();
  table.rms_norm(
      {x.data, out.data, norm.weight.data(), bias, x.rows, x.cols, x.row_stride, out.row_stride, eps});
}

void rope_rows(const KernelTable& table, Mat<float> x, std::int64_t heads, std::int64_t head_stride,
               std::int64_t first, std::span<const std::int32_t> positions, const RopeTable& rope) {
  table.rope({x.data + first, positions.data(), rope.cos.data(), rope.sin.data(), x.rows, heads, rope.dim,
              x.row_stride, head_stride, rope.halves});
}

void rms_norm(OpContext& ctx, ConstMat<float> x, const Norm& norm, float eps, Mat<float> out) {
  LATENT8_DCHECK(static_cast<std::int64_t>(norm.weight.size()) == x.cols);
  ctx.pool().parallel_for(x.rows, kRowsPerPart, [&](std::int64_t begin, std::int64_t end, int) {
    norm_rows(ctx.kernels(), x.row_range(begin, end), norm, eps, out.row_range(begin, end));
  });
}

void rope(OpContext& ctx, Mat<float> x, std::int64_t heads, std::int64_t head_stride, std::int64_t first,
          std::span<const std::int32_t> positions, const RopeTable& table) {
  ctx.pool().parallel_for(x.rows, kRowsPerPart, [&](std::int64_t begin, std::int64_t end, int) {
    rope_rows(ctx.kernels(), x.row_range(begin, end), heads, head_stride, first,
              positions.subspan(static_cast<std::size_t>(begin)), table);
  });
}

void add_rms_norm(OpContext& ctx, Mat<float> x, ConstMat<float> y, float scale, const Norm& norm, float eps,
                  Mat<float> out) {
  ctx.pool().parallel_for(x.rows, kRowsPerPart, [&](std::int64_t begin, std::int64_t end, int) {
    const Mat<float> rows = x.row_range(begin, end);
    add_rows(rows, y.row_range(begin, end), scale);
    norm_rows(ctx.kernels(), rows, norm, eps, out.row_range(begin, end));
  });
}

void silu_mul(OpContext& ctx, ConstMat<float> gate, ConstMat<float> up, Mat<float> out) {
  ctx.pool().parallel_for(gate.rows, kRowsPerPart, [&](std::int64_t begin, std::int64_t end, int) {
    ctx.kernels().silu_mul({gate.row(begin), up.row(begin), out.row(begin), end - begin, gate.cols,
                            gate.row_stride, up.row_stride, out.row_stride});
  });
}

void add_inplace(OpContext& ctx, Mat<float> x, ConstMat<float> y, float scale) {
  ctx.pool().parallel_for(x.rows, kRowsPerPart, [&](std::int64_t begin, std::int64_t end, int) {
    add_rows(x.row_range(begin, end), y.row_range(begin, end), scale);
  });
}

void scale_inplace(OpContext& ctx, Mat<float> x, float scale) {
  if (scale == 1.0F) return;
  ctx.pool().parallel_for(x.rows, kRowsPerPart, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r)
      for (float& value : x.row_span(r)) value *= scale;
  });
}

}  // namespace latent8
