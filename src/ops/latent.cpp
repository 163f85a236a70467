#include "ops/latent.h"

#include <atomic>
#include <cstring>

#include "kernels/activation_codes.h"
#include "kernels/fp8_block.h"
#include "kernels/kernel_table.h"
#include "ops/head_blocks.h"

namespace latent8 {
namespace {

// What follows the product for tokens [m0, m1) of one head: scales, and codes for an int8 cache.
void finish_queries(const KernelTable& table, const LatentShape& shape, float softmax_scale,
                    const LatentPages& pages, ConstMat<float> q, const HeadBlock& block,
                    const QueryRows& to) {
  for (std::int64_t t = block.m0; t < block.m1; ++t) {
    const std::int64_t row = t * shape.heads + block.head;
    const float* q_pe = q.row(t) + block.head * shape.q_head() + shape.nope;
    for (std::int64_t r = 0; r < shape.rope; ++r) to.q_pe.row(row)[r] = q_pe[r] * softmax_scale;
    float* latent = to.absorbed.row(row);
    if (pages.layout.type == CacheType::kInt8) {
      float& scale = to.qk_scale[static_cast<std::size_t>(row)];
      table.quantize_row_major({latent, to.q8.row(row), &scale, 1, shape.rank, shape.rank});
      scale *= pages.scale * softmax_scale;
    } else {
      for (std::int64_t d = 0; d < shape.rank; ++d) latent[d] *= softmax_scale;
    }
  }
}

}  // namespace

void finish_latent(OpContext& ctx, const LatentShape& shape, const Norm& norm, float eps,
                   std::span<const std::int32_t> positions, const RopeTable& table, Mat<float> kv,
                   Mat<float> q) {
  ctx.pool().parallel_for(kv.rows, 4, [&](std::int64_t begin, std::int64_t end, int) {
    const std::span<const std::int32_t> at = positions.subspan(static_cast<std::size_t>(begin));
    const Mat<float> rows = kv.row_range(begin, end), c_kv = rows.col_range(0, shape.rank);
    norm_rows(ctx.kernels(), c_kv, norm, eps, c_kv);
    rope_rows(ctx.kernels(), rows, 1, kv.cols, shape.rank, at, table);
    if (q.rows > 0)
      rope_rows(ctx.kernels(), q.row_range(begin, end), shape.heads, shape.q_head(), shape.nope, at, table);
  });
}

std::int64_t store_latents(OpContext& ctx, const LatentPages& pages, std::span<const std::int32_t> slots,
                           ConstMat<float> kv) {
  std::atomic<std::int64_t> clipped{0};
  ctx.pool().parallel_for(kv.rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int32_t slot = slots[static_cast<std::size_t>(t)];
      const float* row = kv.row(t);
      clipped += store_latent(pages.layout, pages.page_of_slot(slot), slot % pages.block_size, row,
                              row + pages.layout.rank, 1.0F / pages.scale);
    }
  });
  return clipped;
}

void collect_latents(OpContext& ctx, const LatentPages& pages, std::span<const std::int32_t> block_table,
                     ConstMat<float> kv, Mat<float> c_kv, Mat<float> k_pe) {
  const std::int64_t history = c_kv.rows - kv.rows;
  ctx.pool().parallel_for(c_kv.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t p = begin; p < end; ++p) {
      if (p < history) {
        const std::int32_t block = block_table[static_cast<std::size_t>(p / pages.block_size)];
        load_latent(pages.layout, pages.page(block), p % pages.block_size, pages.scale, c_kv.row(p),
                    k_pe.row(p));
      } else {
        const float* row = kv.row(p - history);
        std::memcpy(c_kv.row(p), row, static_cast<std::size_t>(c_kv.cols) * sizeof(float));
        std::memcpy(k_pe.row(p), row + c_kv.cols, static_cast<std::size_t>(k_pe.cols) * sizeof(float));
      }
    }
  });
}

void absorb_queries(OpContext& ctx, const LatentShape& shape, const HeadWeights& w_uk, float softmax_scale,
                    const LatentPages& pages, ConstMat<float> q, const QueryRows& to) {
  const KernelTable& table = ctx.kernels();
  const Mat<float> absorbed(to.absorbed.data, q.rows, shape.heads * shape.rank);
  const HeadCut cut = cut_heads(ctx, shape.heads, q.rows, shape.rank, kFp8Block);
  const bool whole_rows = cut.cols >= shape.rank;
  for_each_head_block(ctx, shape.heads, q.rows, shape.rank, cut, [&](const HeadBlock& b, int) {
    head_linear_transposed(
        table, w_uk, b.head, b.n0, b.n1,
        q.row_range(b.m0, b.m1).col_range(b.head * shape.q_head(), b.head * shape.q_head() + shape.nope),
        absorbed.row_range(b.m0, b.m1).col_range(b.head * shape.rank, (b.head + 1) * shape.rank));
    if (whole_rows) finish_queries(table, shape, softmax_scale, pages, q, b, to);
  });
  if (whole_rows) return;
  const HeadCut rows{cut.rows, shape.rank};
  for_each_head_block(ctx, shape.heads, q.rows, shape.rank, rows, [&](const HeadBlock& b, int) {
    finish_queries(table, shape, softmax_scale, pages, q, b, to);
  });
}

}  // namespace latent8
