#pragma once
// Latents between a layer's projections, its cache pages and attention.

#include <cstdint>
#include <span>

#include "base/views.h"
#include "kernels/latent_pages.h"
#include "ops/context.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace latent8 {

// How the rows of q and kv of T tokens are made of parts.
//   kv [T, kv_lora_rank + qk_rope_head_dim] c_kv | k_pe    q [T, heads * (qk_nope_head_dim + qk_rope_head_dim)]
struct LatentShape {
  std::int64_t heads = 0, rank = 0, nope = 0, rope = 0;
  std::int64_t q_head() const { return nope + rope; }
};

// Normalises c_kv and rotates k_pe, and q_pe of every head of q, in place; an empty q is left out.
void finish_latent(OpContext& ctx, const LatentShape& shape, const Norm& norm, float eps,
                   std::span<const std::int32_t> positions, const RopeTable& table, Mat<float> kv, Mat<float> q);

// Stores rows of kv in the slots [T] of the pages. Returns how many codes were clipped to [-128, 127].
std::int64_t store_latents(OpContext& ctx, const LatentPages& pages, std::span<const std::int32_t> slots,
                           ConstMat<float> kv);
// c_kv [S, rank] and k_pe [S, rope] of a sequence whose last tokens are the rows of kv: those as they are, what lies
// before them as the pages hold it.
void collect_latents(OpContext& ctx, const LatentPages& pages, std::span<const std::int32_t> block_table,
                     ConstMat<float> kv, Mat<float> c_kv, Mat<float> k_pe);

// Where absorbed queries go, rows in the order (token, head): AttendQueries of the same memory.
struct QueryRows {
  Mat<float> absorbed;        // [T * heads, rank] times the softmax scale for a float cache
  Mat<float> q_pe;            // [T * heads, rope] times the softmax scale
  Mat<std::int8_t> q8;        // [T * heads, rank] codes, and
  std::span<float> qk_scale;  // [T * heads] q scale * k scale * softmax scale, for an int8 cache
};
// Absorbs q [T, heads * q_head] through w_uk: what attention over `pages` reads.
void absorb_queries(OpContext& ctx, const LatentShape& shape, const HeadWeights& w_uk, float softmax_scale,
                    const LatentPages& pages, ConstMat<float> q, const QueryRows& to);

}  // namespace latent8
