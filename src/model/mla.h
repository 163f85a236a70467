#pragma once
// Multi-head latent attention.

#include "kv/latent_cache.h"
#include "model/rope_table.h"
#include "model/step.h"
#include "model/weights.h"
#include "ops/latent.h"

namespace latent8 {

struct AttentionOptions {
  Numerics numerics = Numerics::kNative;
  Prefill prefill = Prefill::kCached;
};

// One layer's attention. Every head reads the same latent: the query is absorbed through W_UK, the result
// goes back through W_UV. Source: DeepSeek-V2 report 2.1; docs/numerics.md, "Absorbed and expanded form".
// Thread-safety: const; buffers are the caller's.
class MlaAttention {
 public:
  MlaAttention(const ModelConfig& config, const AttentionWeights& weights, RopeTable rope)
      : config_(config),
        w_(weights),
        shape_{config.num_attention_heads, config.kv_lora_rank, config.qk_nope_head_dim,
               config.qk_rope_head_dim},
        rope_(rope),
        softmax_scale_(softmax_scale(config)) {}

  //   h    [T, hidden_size] normalised input
  //   out  [T, hidden_size] added to the residual stream by the caller
  // Leaves q, c_q, kv (c_kv | k_pe), o of the step in `s`.
  void forward(OpContext& ctx, const StepBatch& step, const AttentionOptions& options, LatentPages pages,
               Scratch& s, ConstMat<float> h, Mat<float> out) const;

  // Parts of forward(), for the quantiser, which tries other forms of the latent.
  // Fills s.kv (c_kv | k_pe), normalised and rotated.
  void project_latent(OpContext& ctx, const StepBatch& step, Scratch& s, ConstMat<float> h) const;
  // Stores s.kv in `pages` and fills s.o with what s.q finds there, kNative and kCached.
  void attend_cached(OpContext& ctx, const StepBatch& step, LatentPages pages, Scratch& s) const;

 private:
  void project(OpContext& ctx, const StepBatch& step, Scratch& s, ConstMat<float> h) const;
  void scale_queries(OpContext& ctx, std::span<const std::int32_t> positions, Mat<float> q) const;
  void attend_absorbed(OpContext& ctx, std::span<const AttendSeq> seqs, LatentPages pages, Scratch& s) const;
  void absorb_queries(OpContext& ctx, std::int64_t begin, std::int64_t end, LatentPages pages,
                      Scratch& s) const;
  void attend_expanded(OpContext& ctx, const StepSeq& seq, LatentPages pages, Scratch& s) const;

  // mla_ascend.cpp
  void store_ascend(const StepBatch& step, LatentPages pages, Scratch& s) const;
  void attend_ascend(OpContext& ctx, const StepSeq& seq, LatentPages pages, Scratch& s) const;

  const ModelConfig& config_;
  const AttentionWeights& w_;
  LatentShape shape_;
  RopeTable rope_;
  float softmax_scale_;
};

}  // namespace latent8
