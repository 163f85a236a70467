#include "ops/expanded_attend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/gemm_args.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

constexpr std::int64_t kQueryRows = 64;

// Softmax of row r's first `keys` scores in place; the rest becomes 0.
void softmax_row(float* scores, std::int64_t keys, std::int64_t cols) {
  float max = scores[0];
  for (std::int64_t i = 1; i < keys; ++i) max = std::max(max, scores[i]);
  double sum = 0;
  for (std::int64_t i = 0; i < keys; ++i) sum += scores[i] = std::exp(scores[i] - max);
  const auto inverse = static_cast<float>(1.0 / sum);
  for (std::int64_t i = 0; i < keys; ++i) scores[i] *= inverse;
  std::fill(scores + keys, scores + cols, 0.0F);
}

// One head's keys [S, qk_head_dim] and values [S, v_head_dim], and a block of scores.
struct HeadBuffers {
  Matrix<float> k, v, scores;
};

}  // namespace

void expanded_attend(OpContext& ctx, const ExpandedAttend& attend, ConstMat<float> q, ConstMat<float> c_kv,
                     ConstMat<float> k_pe, Mat<float> out) {
  const HeadWeights& w_uk = *attend.w_uk;
  const HeadWeights& w_uv = *attend.w_uv;
  const std::int64_t keys = c_kv.rows, tokens = q.rows, dim = attend.qk_head_dim, nope = w_uk.rows,
                     v_dim = w_uv.rows;
  std::vector<HeadBuffers> buffers(static_cast<std::size_t>(ctx.threads()));
  for (HeadBuffers& b : buffers)
    b = {Matrix<float>(keys, dim), Matrix<float>(keys, v_dim), Matrix<float>(kQueryRows, keys)};

  ctx.pool().parallel_for(w_uk.heads, 1, [&](std::int64_t h, std::int64_t, int worker) {
    HeadBuffers& b = buffers[static_cast<std::size_t>(worker)];
    head_linear(ctx.kernels(), w_uk, h, c_kv, b.k.view().col_range(0, nope));
    head_linear(ctx.kernels(), w_uv, h, c_kv, b.v.view());
    for (std::int64_t s = 0; s < keys; ++s)
      std::memcpy(b.k.row(s) + nope, k_pe.row(s), static_cast<std::size_t>(dim - nope) * sizeof(float));
    for (std::int64_t t0 = 0; t0 < tokens; t0 += kQueryRows) {
      const std::int64_t rows = std::min(kQueryRows, tokens - t0);
      const std::int64_t seen = keys - tokens + t0 + rows;  // of the block's last row
      GemmF32Args qk{};
      qk.a = q.row(t0) + h * dim;
      qk.a_stride = q.row_stride;
      qk.b = b.k.row(0);
      qk.b_stride = dim;
      qk.b_type = WeightType::kF32;
      qk.c = b.scores.row(0);
      qk.c_stride = keys;
      qk.m = rows;
      qk.n = seen;
      qk.k = dim;
      ctx.kernels().gemm_f32(qk);
      for (std::int64_t r = 0; r < rows; ++r) {
        float* row = b.scores.row(r);
        const std::int64_t visible = keys - tokens + t0 + r + 1;
        for (std::int64_t i = 0; i < visible; ++i) row[i] *= attend.softmax_scale;
        softmax_row(row, visible, seen);
      }
      GemmNnF32Args pv{};
      pv.a = b.scores.row(0);
      pv.a_stride = keys;
      pv.b = b.v.row(0);
      pv.b_stride = v_dim;
      pv.b_type = WeightType::kF32;
      pv.c = out.row(t0) + h * v_dim;
      pv.c_stride = out.row_stride;
      pv.m = rows;
      pv.n = v_dim;
      pv.k = seen;
      ctx.kernels().gemm_nn_f32(pv);
    }
  });
}

}  // namespace latent8
