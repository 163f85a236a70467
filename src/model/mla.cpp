#include "model/mla.h"

#include <algorithm>
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
    s.clipped_codes = store_latents(ctx, pages, step.slot_mapping, s.kv.view().row_range(0, T));
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
  finish_latent(ctx, shape_, w_.kv_a_layernorm, static_cast<float>(config_.latent_norm_eps), step.positions,
                rope_, kv, q);
  if (config_.llama_4_scaling) scale_queries(ctx, step.positions, q);
}

void MlaAttention::scale_queries(OpContext& ctx, std::span<const std::int32_t> positions,
                                 Mat<float> q) const {
  std::vector<float> scale;
  for (const std::int32_t position : positions) scale.push_back(query_scale(config_, position));
  if (std::any_of(scale.begin(), scale.end(), [](float s) { return s != 1.0F; })) scale_rows(ctx, q, scale);
}

void MlaAttention::project_latent(OpContext& ctx, const StepBatch& step, Scratch& s,
                                  ConstMat<float> h) const {
  const Mat<float> kv = s.kv.view().row_range(0, step.tokens());
  linear(ctx, w_.kv_a_proj_with_mqa, h, kv);
  finish_latent(ctx, shape_, w_.kv_a_layernorm, static_cast<float>(config_.latent_norm_eps), step.positions,
                rope_, kv, {});
}

void MlaAttention::attend_cached(OpContext& ctx, const StepBatch& step, LatentPages pages, Scratch& s) const {
  s.clipped_codes = store_latents(ctx, pages, step.slot_mapping, s.kv.view().row_range(0, step.tokens()));
  const std::vector<AttendSeq> seqs(step.seqs.begin(), step.seqs.end());
  attend_absorbed(ctx, seqs, pages, s);
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
  const std::int64_t heads = shape_.heads, rows = (end - begin) * heads;
  latent8::absorb_queries(
      ctx, shape_, w_.w_uk, softmax_scale_, pages, s.q.view().row_range(begin, end),
      {Mat<float>(s.q_absorbed.row(begin), rows, shape_.rank),
       s.q_pe.view().row_range(begin * heads, end * heads), s.q8.view().row_range(begin * heads, end * heads),
       s.qk_scale.span().subspan(static_cast<std::size_t>(begin * heads), static_cast<std::size_t>(rows))});
}

// Float attention on the values just computed; what lies before them is read back from the cache.
void MlaAttention::attend_expanded(OpContext& ctx, const StepSeq& seq, LatentPages pages, Scratch& s) const {
  Matrix<float> c_kv(seq.seq_len, shape_.rank), k_pe(seq.seq_len, shape_.rope);
  collect_latents(ctx, pages, seq.block_table, s.kv.view().row_range(seq.query_begin, seq.query_end),
                  c_kv.view(), k_pe.view());
  expanded_attend(ctx, {&w_.w_uk, &w_.w_uv, config_.qk_head_dim(), softmax_scale_},
                  s.q.view().row_range(seq.query_begin, seq.query_end), c_kv.view(), k_pe.view(),
                  s.o.view().row_range(seq.query_begin, seq.query_end));
}

}  // namespace latent8
