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
      : config_(config), w_(weights), attention_(config, weights.attention, rope) {}

  //   x [T, hidden_size] residual stream, updated in place
  void forward(OpContext& ctx, const StepBatch& step, const AttentionOptions& options, LatentPages pages,
               Scratch& s, Mat<float> x) const;
  // The two halves of forward(), for the quantiser, which looks at `s` in between.
  void attention_block(OpContext& ctx, const StepBatch& step, const AttentionOptions& options,
                       LatentPages pages, Scratch& s, Mat<float> x) const;
  void mlp_block(OpContext& ctx, Scratch& s, Mat<float> x) const;

 private:
  void moe(OpContext& ctx, Scratch& s, ConstMat<float> h, Mat<float> out) const;

  const ModelConfig& config_;
  const LayerWeights& w_;
  MlaAttention attention_;
};

}  // namespace latent8
