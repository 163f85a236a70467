#include "ops/linear.h"

#include <algorithm>

#include "base/check.h"

namespace latent8 {
namespace {

// Blocks of a parallel linear. Columns are split for one row as for many, rows only where there are many: a
// packed panel of weights is worth about 256 rows.
constexpr std::int64_t kBlockCols = 64;
constexpr std::int64_t kBlockRows = 256;

const void* weight_row(const Linear& w, std::int64_t row) {
  const std::int64_t bytes = w.kind == Linear::Kind::kFloat ? size_of(dtype_of(w.type)) : 1;
  return static_cast<const std::byte*>(w.weight) + row * w.in_features * bytes;
}

GemmF32Args float_args(const Linear& w, std::int64_t row, std::int64_t n, std::int64_t k) {
  GemmF32Args args{};
  args.b = weight_row(w, row);
  args.n = n;
  args.k = k;
  args.b_stride = w.in_features;
  args.b_type = w.type;
  args.b_scale = w.block_scale;
  args.b_scale_stride = w.block_scale_stride;
  args.b_row0 = w.block_row0 + row;
  return args;
}

void add_bias(const float* bias, std::int64_t m0, std::int64_t m1, std::int64_t n0, std::int64_t n1,
              Mat<float> out) {
  for (std::int64_t m = m0; m < m1; ++m) {
    float* row = out.row(m);
    for (std::int64_t n = n0; n < n1; ++n) row[n] += bias[n];
  }
}

// Splits [0, m) x [0, n) into blocks and calls body(m0, m1, n0, n1, worker).
template <class Body>
void for_each_block(OpContext& ctx, std::int64_t m, std::int64_t n, const Body& body) {
  const std::int64_t cols = (n + kBlockCols - 1) / kBlockCols;
  const std::int64_t rows = (m + kBlockRows - 1) / kBlockRows;
  // Neighbouring column blocks of one row block go to one worker: long sequential reads of the weights.
  const std::int64_t grain = std::max<std::int64_t>(1, cols * rows / (8 * ctx.threads()));
  ctx.pool().parallel_for(cols * rows, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t m0 = i / cols * kBlockRows, n0 = i % cols * kBlockCols;
      body(m0, std::min(m0 + kBlockRows, m), n0, std::min(n0 + kBlockCols, n), worker);
    }
  });
}

}  // namespace

std::int64_t Linear::weight_bytes() const {
  return out_features * in_features * (kind == Kind::kFloat ? size_of(dtype_of(type)) : 1);
}

bool same_input(const Linear& a, const Linear& b) {
  if (a.kind != b.kind) return false;
  return a.kind != Linear::Kind::kW8A8Static ||
         (a.input_scale == b.input_scale && a.input_offset == b.input_offset);
}

void quantize_row(const KernelTable& table, const Linear& w, const float* x, std::int64_t r,
                  OpContext::Codes& codes) {
  const std::int64_t k = w.in_features;
  if (w.kind == Linear::Kind::kW8A8Dynamic)
    table.quantize_dynamic(
        {x, codes.q.data() + r * k, codes.scale.data() + r, codes.sum.data() + r, 1, k, k});
  else if (w.kind == Linear::Kind::kW8A8Static)
    table.quantize_static(
        {x, codes.q.data() + r * k, codes.sum.data() + r, 1, k, k, w.input_scale, w.input_offset});
}

LinearInput prepare_input(OpContext& ctx, const Linear& w, ConstMat<float> x, OpContext::Codes& codes) {
  LATENT8_DCHECK(x.cols == w.in_features);
  LinearInput in{x, nullptr, nullptr, nullptr};
  if (w.kind == Linear::Kind::kFloat) return in;
  codes.reserve(x.rows, w.in_features);
  ctx.pool().parallel_for(x.rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) quantize_row(ctx.kernels(), w, x.row(r), r, codes);
  });
  in.q = codes.q.data();
  in.sum = codes.sum.data();
  in.scale = w.kind == Linear::Kind::kW8A8Dynamic ? codes.scale.data() : nullptr;
  return in;
}

std::int64_t linear_scratch_bytes(const Linear& w) {
  return w.kind == Linear::Kind::kFloat ? 0 : gemm_s8_scratch_bytes(w.in_features);
}

void linear_block(const KernelTable& table, const Linear& w, const LinearInput& in, std::int64_t m0,
                  std::int64_t m1, std::int64_t n0, std::int64_t n1, Mat<float> out, void* worker_scratch) {
  const std::int64_t k = w.in_features;
  if (w.kind == Linear::Kind::kFloat) {
    GemmF32Args args = float_args(w, n0, n1 - n0, k);
    args.a = in.x.row(m0);
    args.a_stride = in.x.row_stride;
    args.c = out.row(m0) + n0;
    args.c_stride = out.row_stride;
    args.m = m1 - m0;
    table.gemm_f32(args);
  } else {
    GemmS8Args args{};
    args.a = in.q + m0 * k;
    args.a_sum = in.sum + m0;
    args.a_scale = in.scale == nullptr ? nullptr : in.scale + m0;
    args.b = static_cast<const std::int8_t*>(weight_row(w, n0));
    args.b_scale = w.scale + n0;
    args.bias = w.quant_bias == nullptr ? nullptr : w.quant_bias + n0;
    args.c = out.row(m0) + n0;
    args.c_stride = out.row_stride;
    args.m = m1 - m0;
    args.n = n1 - n0;
    args.k = k;
    args.scratch = worker_scratch;
    table.gemm_s8(args);
  }
  if (w.bias != nullptr) add_bias(w.bias, m0, m1, n0, n1, out);
}

void linear(OpContext& ctx, const Linear& w, ConstMat<float> x, Mat<float> out) {
  LATENT8_DCHECK(out.rows == x.rows && out.cols == w.out_features);
  const LinearInput in = prepare_input(ctx, w, x, ctx.codes);
  ctx.reserve_worker_scratch(linear_scratch_bytes(w));
  for_each_block(ctx, x.rows, w.out_features,
                 [&](std::int64_t m0, std::int64_t m1, std::int64_t n0, std::int64_t n1, int worker) {
                   linear_block(ctx.kernels(), w, in, m0, m1, n0, n1, out, ctx.worker_scratch(worker));
                 });
}

void linear_pair(OpContext& ctx, const Linear& w1, const Linear& w2, ConstMat<float> x, Mat<float> out1,
                 Mat<float> out2) {
  const LinearInput in1 = prepare_input(ctx, w1, x, ctx.codes);
  const LinearInput in2 = same_input(w1, w2) ? in1 : prepare_input(ctx, w2, x, ctx.extra_codes);
  ctx.reserve_worker_scratch(std::max(linear_scratch_bytes(w1), linear_scratch_bytes(w2)));
  // One loop over the columns of both: columns of w2 follow those of w1, padded to whole blocks.
  const std::int64_t cols1 = (w1.out_features + kBlockCols - 1) / kBlockCols * kBlockCols;
  for_each_block(ctx, x.rows, cols1 + w2.out_features,
                 [&](std::int64_t m0, std::int64_t m1, std::int64_t n0, std::int64_t n1, int worker) {
                   void* scratch = ctx.worker_scratch(worker);
                   if (n0 < cols1)
                     linear_block(ctx.kernels(), w1, in1, m0, m1, n0, std::min(n1, w1.out_features), out1,
                                  scratch);
                   else
                     linear_block(ctx.kernels(), w2, in2, m0, m1, n0 - cols1, n1 - cols1, out2, scratch);
                 });
}

void per_head_linear_transposed(OpContext& ctx, const HeadWeights& w, ConstMat<float> x, std::int64_t x_head,
                                Mat<float> out) {
  ctx.pool().parallel_for(w.heads, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t h = begin; h < end; ++h) {
      GemmNnF32Args args = float_args(w.tensor, w.row0 + h * w.row_stride, w.cols, w.rows);
      args.a = x.data + h * x_head;
      args.a_stride = x.row_stride;
      args.c = out.data + h * w.cols;
      args.c_stride = out.row_stride;
      args.m = x.rows;
      ctx.kernels().gemm_nn_f32(args);
    }
  });
}

void per_head_linear(OpContext& ctx, const HeadWeights& w, ConstMat<float> x, Mat<float> out) {
  ctx.pool().parallel_for(w.heads, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t h = begin; h < end; ++h)
      head_linear(ctx.kernels(), w, h, x.col_range(h * w.cols, (h + 1) * w.cols),
                  out.col_range(h * w.rows, (h + 1) * w.rows));
  });
}

void head_linear(const KernelTable& table, const HeadWeights& w, std::int64_t head, ConstMat<float> x,
                 Mat<float> out) {
  GemmF32Args args = float_args(w.tensor, w.row0 + head * w.row_stride, w.rows, w.cols);
  args.a = x.data;
  args.a_stride = x.row_stride;
  args.c = out.data;
  args.c_stride = out.row_stride;
  args.m = x.rows;
  table.gemm_f32(args);
}

}  // namespace latent8
