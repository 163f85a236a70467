#pragma once
// The whole model: token ids in, normalised hidden states and logits out.

#include <memory>
#include <vector>

#include "kv/latent_cache.h"
#include "model/decoder_layer.h"
#include "model/rope_table.h"
#include "model/step.h"
#include "model/weights.h"

namespace latent8 {

// What enters the MTP layer's decoder.
//   hidden [T, hidden_size] of the main model, after the final norm
//   x      [T, hidden_size] embeddings of the tokens one place further; the result replaces them
void mtp_input(OpContext& ctx, const ModelConfig& config, const MtpInputWeights& w, Scratch& s,
               ConstMat<float> hidden, Mat<float> x);

// Immutable after construction. Thread-safety: const; buffers, cache and threads are the caller's, so one
// model may serve several callers that have their own.
class DeepseekModel {
 public:
  explicit DeepseekModel(ModelWeights weights);
  DeepseekModel(const DeepseekModel&) = delete;
  DeepseekModel& operator=(const DeepseekModel&) = delete;

  const ModelConfig& config() const { return weights_.config; }
  const ModelWeights& weights() const { return weights_; }
  bool has_mtp() const { return mtp_ != nullptr; }
  std::int64_t num_layers() const { return static_cast<std::int64_t>(layers_.size()); }

  // Form of every layer's cache, the MTP layer's last if there is one. int8 where the layer has FA scales,
  // else `other`.
  std::vector<LatentCache::Layer> cache_layers(CacheType other) const;

  // One step through all layers. Writes the tokens' latents into the cache.
  //   hidden [T, hidden_size] after the final norm
  void forward(OpContext& ctx, const StepBatch& step, const AttentionOptions& options, LatentCache& cache,
               Scratch& s, Mat<float> hidden) const;
  // logits [R, vocab_size] of R rows of hidden
  void logits(OpContext& ctx, ConstMat<float> hidden, Mat<float> out) const;

  // The MTP layer. REQUIRES: has_mtp().
  //   step       its token ids are those one place after the positions
  //   hidden     [T, hidden_size] of the main model at the same positions, after the final norm
  //   mtp_hidden [T, hidden_size] after shared_head.norm: mtp_logits() of row i predict the token after the
  //   next
  void mtp_forward(OpContext& ctx, const StepBatch& step, const AttentionOptions& options, LatentCache& cache,
                   Scratch& s, ConstMat<float> hidden, Mat<float> mtp_hidden) const;
  void mtp_logits(OpContext& ctx, ConstMat<float> mtp_hidden, Mat<float> out) const;

 private:
  void prepare_positions(const StepBatch& step) const;
  void embed(OpContext& ctx, const Linear& table, std::span<const std::int32_t> ids, Mat<float> out) const;
  void head(OpContext& ctx, const Linear& head, ConstMat<float> hidden, Mat<float> out) const;

  ModelWeights weights_;
  RopeFrequencies rope_;
  std::vector<DecoderLayer> layers_;
  std::unique_ptr<DecoderLayer> mtp_;
};

}  // namespace latent8
