#include "model/mla.h"

#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "ops/expanded_attend.h"

namespace latent8 {
namespace {

// Token ranges [begin, end) that neighbouring sequences cover together.
std::vector<std::pair<std::int64_t, std::int64_t>> token_ranges(std::span<const AttendSeq> seqs) {
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  for (const AttendSeq& seq : seqs) {
    if (!ranges.empty() && ranges.back().second == seq.query_begin)
      ranges.back().second = seq.query_end;
    else
      ranges.emplace_back(seq.query_begin, seq.query_end);
  }
  return ranges;
}

}  // namespace

void MlaAttention::forward(OpContext& ctx, const StepBatch& step, const AttentionOptions& options,
                           LatentPages pages, Scratch& s, ConstMat<float> h, Mat<float> out) const {
  const std::int64_t T = step.tokens();
  project(ctx, step, s, h);
  const bool ascend = options.numerics == Numerics::kAscend, int8 = pages.layout.type == CacheType::kInt8;
  if (ascend && int8)
    store_ascend(step, pages, s);
  else
    store(ctx, step, pages, s);
  // Which path a sequence takes depends on the layer and the options, never on how many tokens it has in this
  // step.
  std::vector<AttendSeq> cached;
  for (const StepSeq& seq : step.seqs) {
    if (seq.prompt && (ascend || options.prefill == Prefill::kFloat))
      attend_expanded(ctx, seq, pages, s);
    else if (ascend && int8)
      attend_ascend(ctx, seq, pages, s);
    else
      cached.push_back(seq);
  }
  if (!cached.empty()) attend_absorbed(ctx, cached, pages, s);
  linear(ctx, w_.o_proj, s.o.view().row_range(0, T), out);  // [T, hidden_size]
}

// Fills kv (c_kv | k_pe), c_q and q (q_nope | q_pe per head), normalised and rotated.
void MlaAttention::project(OpContext& ctx, const StepBatch& step, Scratch& s, ConstMat<float> h) const {
  const std::int64_t T = step.tokens();
  const Mat<float> kv = s.kv.view().row_range(0, T), q = s.q.view().row_range(0, T);
  if (w_.q_proj) {
    linear_pair(ctx, *w_.q_proj, w_.kv_a_proj_with_mqa, h, q, kv);
  } else {
    const Mat<float> c_q = s.c_q.view().row_range(0, T);
    linear_pair(ctx, *w_.q_a_proj, w_.kv_a_proj_with_mqa, h, c_q, kv);
    rms_norm(ctx, c_q, w_.q_a_layernorm, static_cast<float>(config_.latent_norm_eps), c_q);
    linear(ctx, *w_.q_b_proj, c_q, q);
  }
  finish_latent(ctx, step, kv);
  rope(ctx, q, config_.num_attention_heads, config_.qk_head_dim(), config_.qk_nope_head_dim, step.positions,
       rope_);
}

// Normalises c_kv and rotates k_pe.
void MlaAttention::finish_latent(OpContext& ctx, const StepBatch& step, Mat<float> kv) const {
  const Mat<float> c_kv = kv.col_range(0, config_.kv_lora_rank);
  rms_norm(ctx, c_kv, w_.kv_a_layernorm, static_cast<float>(config_.latent_norm_eps), c_kv);
  rope(ctx, kv, 1, kv.cols, config_.kv_lora_rank, step.positions, rope_);
}

void MlaAttention::project_latent(OpContext& ctx, const StepBatch& step, Scratch& s,
                                  ConstMat<float> h) const {
  const Mat<float> kv = s.kv.view().row_range(0, step.tokens());
  linear(ctx, w_.kv_a_proj_with_mqa, h, kv);
  finish_latent(ctx, step, kv);
}

void MlaAttention::attend_cached(OpContext& ctx, const StepBatch& step, LatentPages pages, Scratch& s) const {
  store(ctx, step, pages, s);
  const std::vector<AttendSeq> seqs(step.seqs.begin(), step.seqs.end());
  attend_absorbed(ctx, seqs, pages, s);
}

void MlaAttention::store(OpContext& ctx, const StepBatch& step, LatentPages pages, Scratch& s) const {
  const std::int64_t rank = config_.kv_lora_rank;
  std::atomic<std::int64_t> clipped{0};
  ctx.pool().parallel_for(step.tokens(), 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int32_t slot = step.slot_mapping[static_cast<std::size_t>(t)];
      const float* row = s.kv.row(t);
      clipped += store_latent(pages.layout, pages.page_of_slot(slot), slot % pages.block_size, row,
                              row + rank, 1.0F / pages.scale);
    }
  });
  s.clipped_codes = clipped;
}

void MlaAttention::attend_absorbed(OpContext& ctx, std::span<const AttendSeq> seqs, LatentPages pages,
                                   Scratch& s) const {
  const std::int64_t heads = config_.num_attention_heads, rank = config_.kv_lora_rank;
  const auto ranges = token_ranges(seqs);
  for (const auto& [begin, end] : ranges) absorb_queries(ctx, begin, end, pages, s);
  const auto head_rows = [&](Matrix<float>& m) { return Mat<float>(m.row(0), s.max_tokens * heads, rank); };
  const AttendQueries queries{heads, s.q8.view(), s.qk_scale.span(), head_rows(s.q_absorbed), s.q_pe.view()};
  mla_attend(ctx, pages, seqs, queries, s.attend, head_rows(s.o_latent));  // [T * heads, kv_lora_rank]
  for (const auto& [begin, end] : ranges)
    per_head_linear(ctx, w_.w_uv, s.o_latent.view().row_range(begin, end),
                    s.o.view().row_range(begin, end));  // [T, heads * v_head_dim]
}

// q -> q_absorbed and q_pe with the softmax scale; for int8 layers q8 and qk_scale.
void MlaAttention::absorb_queries(OpContext& ctx, std::int64_t begin, std::int64_t end, LatentPages pages,
                                  Scratch& s) const {
  const std::int64_t heads = config_.num_attention_heads, rank = config_.kv_lora_rank,
                     dim = config_.qk_head_dim();
  const std::int64_t rope_dim = config_.qk_rope_head_dim;
  per_head_linear_transposed(ctx, w_.w_uk, s.q.view().row_range(begin, end), dim,
                             s.q_absorbed.view().row_range(begin, end));  // [T, heads * kv_lora_rank]
  ctx.pool().parallel_for(end - begin, 1, [&](std::int64_t i, std::int64_t, int) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t row = (begin + i) * heads + h;
      const float* q_pe = s.q.row(begin + i) + h * dim + config_.qk_nope_head_dim;
      for (std::int64_t r = 0; r < rope_dim; ++r) s.q_pe.row(row)[r] = q_pe[r] * softmax_scale_;
      float* latent = s.q_absorbed.row(begin + i) + h * rank;
      if (pages.layout.type == CacheType::kInt8) {
        ctx.kernels().quantize_dynamic(
            {latent, s.q8.row(row), s.qk_scale.data() + row, s.q8_sum.data() + row, 1, rank, rank});
        s.qk_scale[row] *= pages.scale * softmax_scale_;
      } else {
        for (std::int64_t d = 0; d < rank; ++d) latent[d] *= softmax_scale_;
      }
    }
  });
}

// Float attention on the values just computed; what lies before them is read back from the cache.
void MlaAttention::attend_expanded(OpContext& ctx, const StepSeq& seq, LatentPages pages, Scratch& s) const {
  const std::int64_t rank = config_.kv_lora_rank, rope_dim = config_.qk_rope_head_dim;
  const std::int64_t count = seq.query_end - seq.query_begin, history = seq.seq_len - count;
  Matrix<float> c_kv(seq.seq_len, rank), k_pe(seq.seq_len, rope_dim);
  ctx.pool().parallel_for(seq.seq_len, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t p = begin; p < end; ++p) {
      if (p < history) {
        const std::int32_t block = seq.block_table[static_cast<std::size_t>(p / pages.block_size)];
        load_latent(pages.layout, pages.page(block), p % pages.block_size, pages.scale, c_kv.row(p),
                    k_pe.row(p));
      } else {
        const float* row = s.kv.row(seq.query_begin + p - history);
        std::memcpy(c_kv.row(p), row, static_cast<std::size_t>(rank) * sizeof(float));
        std::memcpy(k_pe.row(p), row + rank, static_cast<std::size_t>(rope_dim) * sizeof(float));
      }
    }
  });
  expanded_attend(ctx, {&w_.w_uk, &w_.w_uv, config_.qk_head_dim(), softmax_scale_},
                  s.q.view().row_range(seq.query_begin, seq.query_end), c_kv.view(), k_pe.view(),
                  s.o.view().row_range(seq.query_begin, seq.query_end));
}

}  // namespace latent8
