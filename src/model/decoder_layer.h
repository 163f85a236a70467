#pragma once
// One decoder layer: attention and MLP around the residual stream.

#include "model/mla.h"
#include "model/step.h"
#include "model/weights.h"

namespace latent8 {

// Ownership: refers to config and weights, which must outlive it.
// Thread-safety: const; buffers are the caller's.
class DecoderLayer {
 public:
  DecoderLayer(const ModelConfig& config, const LayerWeights& weights, RopeTable rope)
      : config_(config),
        w_(weights),
        attention_(config, weights.attention, rope),
        residual_scale_(static_cast<float>(config.residual_scale())) {}

  //   x [T, hidden_size] residual stream, updated in place
  void forward(OpContext& ctx, const StepBatch& step, const AttentionOptions& options, LatentPages pages,
               Scratch& s, Mat<float> x) const;
  // The two halves of forward(), for the quantiser, which looks at `s` in between.
  void attention_block(OpContext& ctx, const StepBatch& step, const AttentionOptions& options,
                       LatentPages pages, Scratch& s, Mat<float> x) const;
  void mlp_block(OpContext& ctx, Scratch& s, Mat<float> x) const;

  // The parts of mlp_block(), for the quantiser, which has a few experts in memory at a time.
  //   h [T, hidden_size] = norm(x)
  void mlp_input(OpContext& ctx, ConstMat<float> x, Mat<float> h) const;
  // Fills s.routing. REQUIRES: an MoE layer.
  void choose_experts(OpContext& ctx, Scratch& s, ConstMat<float> h) const;
  // out [T, hidden_size] = the MLP that every token passes: a dense one, or the shared experts.
  // REQUIRES: the layer has one.
  void common_mlp(OpContext& ctx, Scratch& s, ConstMat<float> h, Mat<float> out) const;
  bool has_common_mlp() const { return w_.mlp || w_.moe->shared_experts; }
  // x += delta, by the model's factor
  void add_to_stream(OpContext& ctx, Mat<float> x, ConstMat<float> delta) const;

 private:
  void attend(OpContext& ctx, const StepBatch& step, const AttentionOptions& options, LatentPages pages,
              Scratch& s, ConstMat<float> x) const;
  void mlp(OpContext& ctx, Scratch& s, ConstMat<float> h, Mat<float> out) const;

  const ModelConfig& config_;
  const LayerWeights& w_;
  MlaAttention attention_;
  float residual_scale_;
};

}  // namespace latent8
