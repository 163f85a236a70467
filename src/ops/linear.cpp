#include "ops/linear.h"

#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"
#include "kernels/fp8_block.h"
#include "kernels/gemm_args.h"
#include "kernels/kernel_table.h"
#include "ops/head_blocks.h"

namespace latent8 {
namespace {

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

// Splits [0, m) x [0, n) into blocks and calls body(m0, m1, n0, n1, worker). Columns are split for one row as
// for many.
template <class Body>
void for_each_block(OpContext& ctx, std::int64_t m, std::int64_t n, const Body& body) {
  const std::int64_t block_rows = ctx.kernels().gemm_rows, block_cols = ctx.kernels().gemm_cols;
  const std::int64_t cols = (n + block_cols - 1) / block_cols;
  const std::int64_t rows = (m + block_rows - 1) / block_rows;
  // Neighbouring column blocks of one row block go to one worker: long sequential reads of the weights.
  const std::int64_t grain = std::max<std::int64_t>(1, cols * rows / (8 * ctx.threads()));
  ctx.pool().parallel_for(cols * rows, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t m0 = i / cols * block_rows, n0 = i % cols * block_cols;
      body(m0, std::min(m0 + block_rows, m), n0, std::min(n0 + block_cols, n), worker);
    }
  });
}

void reserve_block_scratch(OpContext& ctx, const Linear& w, std::int64_t m) {
  const KernelTable& table = ctx.kernels();
  ctx.reserve_worker_scratch(linear_scratch_bytes(table, w, std::min(m, table.gemm_rows),
                                                  std::min(w.out_features, table.gemm_cols)));
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

std::int64_t quantize_grain(const KernelTable& table) {
  constexpr std::int64_t kRows = 8;
  return (kRows + table.code_rows - 1) / table.code_rows * table.code_rows;
}

ActivationCodes reserve_codes(const KernelTable& table, const Linear& w, std::int64_t m, CodeBuffer& buffer) {
  buffer.reserve(table.code_bytes(m, w.in_features), m);
  ActivationCodes rows = buffer.rows(0, 0, m, w.in_features);
  if (w.kind == Linear::Kind::kW8A8Static) rows.scale = nullptr;
  return rows;
}

void quantize_rows(const KernelTable& table, const Linear& w, ConstMat<float> x, const ActivationCodes& to,
                   std::int64_t first_row) {
  if (w.kind == Linear::Kind::kW8A8Dynamic)
    table.quantize_dynamic({x.data, to, first_row, x.rows, x.row_stride});
  else if (w.kind == Linear::Kind::kW8A8Static)
    table.quantize_static({x.data, to, first_row, x.rows, x.row_stride, w.input_scale, w.input_offset});
}

LinearInput prepare_input(OpContext& ctx, const Linear& w, ConstMat<float> x, CodeBuffer& buffer) {
  LATENT8_DCHECK(x.cols == w.in_features);
  if (w.kind == Linear::Kind::kFloat) return {x, {}};
  const KernelTable& table = ctx.kernels();
  const ActivationCodes codes = reserve_codes(table, w, x.rows, buffer);
  ctx.pool().parallel_for(x.rows, quantize_grain(table), [&](std::int64_t begin, std::int64_t end, int) {
    quantize_rows(table, w, x.row_range(begin, end), codes, begin);
  });
  return {x, codes};
}

std::int64_t linear_scratch_bytes(const KernelTable& table, const Linear& w, std::int64_t m, std::int64_t n) {
  return w.kind == Linear::Kind::kFloat ? 0 : table.gemm_s8_scratch_bytes(m, n, w.in_features);
}

void linear_block(const KernelTable& table, const Linear& w, const LinearInput& in, std::int64_t m0,
                  std::int64_t m1, std::int64_t n0, std::int64_t n1, Mat<float> out, void* worker_scratch) {
  if (w.kind == Linear::Kind::kFloat) {
    GemmF32Args args = float_args(w, n0, n1 - n0, w.in_features);
    args.a = in.x.row(m0);
    args.a_stride = in.x.row_stride;
    args.c = out.row(m0) + n0;
    args.c_stride = out.row_stride;
    args.m = m1 - m0;
    table.gemm_f32(args);
  } else {
    GemmS8Args args{};
    args.a = in.codes;
    args.row_begin = m0;
    args.m = m1 - m0;
    args.b = static_cast<const std::int8_t*>(weight_row(w, n0));
    args.b_scale = w.scale + n0;
    args.bias = w.quant_bias == nullptr ? nullptr : w.quant_bias + n0;
    args.c = out.row(m0) + n0;
    args.c_stride = out.row_stride;
    args.n = n1 - n0;
    args.scratch = worker_scratch;
    table.gemm_s8(args);
  }
  if (w.bias != nullptr) add_bias(w.bias, m0, m1, n0, n1, out);
}

void linear(OpContext& ctx, const Linear& w, ConstMat<float> x, Mat<float> out) {
  linear_prepared(ctx, w, prepare_input(ctx, w, x, ctx.codes), x.rows, out);
}

void linear_prepared(OpContext& ctx, const Linear& w, const LinearInput& in, std::int64_t m, Mat<float> out) {
  LATENT8_DCHECK(out.rows == m && out.cols == w.out_features);
  reserve_block_scratch(ctx, w, m);
  for_each_block(ctx, m, w.out_features,
                 [&](std::int64_t m0, std::int64_t m1, std::int64_t n0, std::int64_t n1, int worker) {
                   linear_block(ctx.kernels(), w, in, m0, m1, n0, n1, out, ctx.worker_scratch(worker));
                 });
}

void linear_pair(OpContext& ctx, const Linear& w1, const Linear& w2, ConstMat<float> x, Mat<float> out1,
                 Mat<float> out2) {
  const LinearInput in1 = prepare_input(ctx, w1, x, ctx.codes);
  const LinearInput in2 = same_input(w1, w2) ? in1 : prepare_input(ctx, w2, x, ctx.extra_codes);
  reserve_block_scratch(ctx, w1, x.rows);
  reserve_block_scratch(ctx, w2, x.rows);
  // One loop over the columns of both: columns of w2 follow those of w1, padded to whole blocks.
  const std::int64_t block = ctx.kernels().gemm_cols;
  const std::int64_t cols1 = (w1.out_features + block - 1) / block * block;
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

void embed_rows(OpContext& ctx, const Linear& table, std::span<const std::int32_t> ids, Mat<float> out) {
  ctx.pool().parallel_for(out.rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t)
      widen(weight_row(table, ids[static_cast<std::size_t>(t)]), dtype_of(table.type), table.in_features,
            out.row(t));
  });
}

HeadCut cut_heads(const OpContext& ctx, std::int64_t heads, std::int64_t m, std::int64_t n,
                  std::int64_t col_step) {
  constexpr std::int64_t kFewRows = 64;  // rows that share a pass over a head's weights
  HeadCut cut{m, n};
  const auto blocks = [&] {
    return heads * ((m + cut.rows - 1) / cut.rows) * ((n + cut.cols - 1) / cut.cols);
  };
  while (blocks() < 4 * ctx.threads()) {
    if (cut.rows > kFewRows)
      cut.rows = (cut.rows + 1) / 2;
    else if (cut.cols > col_step)
      cut.cols = (cut.cols / 2 + col_step - 1) / col_step * col_step;
    else
      break;
  }
  return cut;
}

void head_linear_transposed(const KernelTable& table, const HeadWeights& w, std::int64_t head,
                            std::int64_t n0, std::int64_t n1, ConstMat<float> x, Mat<float> out) {
  const Linear& tensor = w.tensor;
  GemmNnF32Args args = float_args(tensor, w.row0 + head * w.row_stride, n1 - n0, w.rows);
  args.b = static_cast<const std::byte*>(args.b) + n0 * size_of(dtype_of(tensor.type));
  if (args.b_scale != nullptr) args.b_scale += n0 / kFp8Block;
  args.a = x.data;
  args.a_stride = x.row_stride;
  args.c = out.data + n0;
  args.c_stride = out.row_stride;
  args.m = x.rows;
  table.gemm_nn_f32(args);
}

void per_head_linear_transposed(OpContext& ctx, const HeadWeights& w, ConstMat<float> x, std::int64_t x_head,
                                Mat<float> out) {
  for_each_head_block(ctx, w.heads, x.rows, w.cols, cut_heads(ctx, w.heads, x.rows, w.cols, kFp8Block),
                      [&](const HeadBlock& b, int) {
                        head_linear_transposed(
                            ctx.kernels(), w, b.head, b.n0, b.n1,
                            x.row_range(b.m0, b.m1).col_range(b.head * x_head, b.head * x_head + w.rows),
                            out.row_range(b.m0, b.m1).col_range(b.head * w.cols, (b.head + 1) * w.cols));
                      });
}

void per_head_linear(OpContext& ctx, const HeadWeights& w, ConstMat<float> x, Mat<float> out) {
  for_each_head_block(
      ctx, w.heads, x.rows, w.rows, cut_heads(ctx, w.heads, x.rows, w.rows, 32),
      [&](const HeadBlock& b, int) {
        HeadWeights part = w;
        part.row0 += b.n0;
        part.rows = b.n1 - b.n0;
        head_linear(ctx.kernels(), part, b.head,
                    x.row_range(b.m0, b.m1).col_range(b.head * w.cols, (b.head + 1) * w.cols),
                    out.row_range(b.m0, b.m1).col_range(b.head * w.rows + b.n0, b.head * w.rows + b.n1));
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
