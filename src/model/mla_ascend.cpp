// The `ascend` numerics of an int8 layer: what the reference's operators round, and where.
// Source: docs/numerics.md, "Ascend attention" and "Ascend cache writes".

#include "kernels/ascend_decode.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/dtype.h"
#include "model/mla.h"

namespace latent8 {
namespace {

float round_fp16(float x) { return to_float(to_fp16(x)); }

float to_code(float x) { return std::clamp(std::nearbyint(x), -128.0F, 127.0F); }

}  // namespace

// A prompt token's code is rint(fp16(fp16(x) / fp16(scale))), a decoded one's rint(fp16(x * (1 / scale))).
void MlaAttention::store_ascend(const StepBatch& step, LatentPages pages, Scratch& s) const {
  const std::int64_t rank = config_.kv_lora_rank;
  std::vector<float> codes(static_cast<std::size_t>(rank));
  s.clipped_codes = 0;
  for (const StepSeq& seq : step.seqs)
    for (std::int64_t t = seq.query_begin; t < seq.query_end; ++t) {
      const float* row = s.kv.row(t);
      const float half_scale = round_fp16(pages.scale), inverse = 1.0F / pages.scale;
      for (std::int64_t d = 0; d < rank; ++d)
        codes[static_cast<std::size_t>(d)] =
            std::nearbyint(round_fp16(seq.prompt ? round_fp16(row[d]) / half_scale : row[d] * inverse));
      const std::int32_t slot = step.slot_mapping[static_cast<std::size_t>(t)];
      s.clipped_codes += store_latent(pages.layout, pages.page_of_slot(slot), slot % pages.block_size,
                                      codes.data(), row + rank, 1.0F);
    }
}

void MlaAttention::attend_ascend(OpContext& ctx, const StepSeq& seq, LatentPages pages, Scratch& s) const {
  const std::int64_t heads = config_.num_attention_heads, rank = config_.kv_lora_rank,
                     dim = config_.qk_head_dim();
  const std::int64_t nope = config_.qk_nope_head_dim, rope_dim = config_.qk_rope_head_dim;
  const std::int64_t begin = seq.query_begin, tokens = seq.query_end - begin, keys = seq.seq_len;
  const Mat<float> q = s.q.view().row_range(begin, seq.query_end);
  const Mat<float> absorbed = s.q_absorbed.view().row_range(begin, seq.query_end);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (float& x : q.row_span(t)) x = round_fp16(x);
  per_head_linear_transposed(ctx, w_.w_uk, q, dim, absorbed);  // [T, heads * kv_lora_rank]

  std::vector<float> q_pe, qk_descale, pv_descale(static_cast<std::size_t>(heads), pages.scale);
  std::vector<float> lse(static_cast<std::size_t>(tokens * heads));
  for (const float q_scale : w_.fa->q) qk_descale.push_back(q_scale * w_.fa->k);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; h < heads; ++h) {
      const float* pe = q.row(t) + h * dim + nope;
      q_pe.insert(q_pe.end(), pe, pe + rope_dim);
      const float inverse = round_fp16(1.0F / w_.fa->q[static_cast<std::size_t>(h)]);
      const float* latent = absorbed.row(t) + h * rank;
      std::int8_t* codes = s.q8.row((begin + t) * heads + h);
      for (std::int64_t d = 0; d < rank; ++d)
        codes[d] = static_cast<std::int8_t>(to_code(round_fp16(round_fp16(latent[d]) * inverse)));
    }

  std::vector<std::int8_t> k(static_cast<std::size_t>(keys * rank));
  std::vector<float> k_pe(static_cast<std::size_t>(keys * rope_dim)), codes(static_cast<std::size_t>(rank));
  for (std::int64_t p = 0; p < keys; ++p) {
    const std::int32_t block = seq.block_table[static_cast<std::size_t>(p / pages.block_size)];
    load_latent(pages.layout, pages.page(block), p % pages.block_size, 1.0F, codes.data(),
                k_pe.data() + p * rope_dim);
    std::transform(codes.begin(), codes.end(), k.begin() + p * rank,
                   [](float c) { return static_cast<std::int8_t>(c); });
  }
  ascend_decode({tokens, heads, rank, rope_dim, keys, s.q8.row(begin * heads), q_pe.data(), k.data(),
                 k_pe.data(), qk_descale.data(), pv_descale.data(), softmax_scale_, s.o_latent.row(begin),
                 lse.data()});
  per_head_linear(ctx, w_.w_uv, s.o_latent.view().row_range(begin, seq.query_end),
                  s.o.view().row_range(begin, seq.query_end));  // [T, heads * v_head_dim]
}

}  // namespace latent8
