#include "model/deepseek_model.h"

#include <algorithm>

#include "base/check.h"

namespace latent8 {
namespace {

LatentCache::Layer cache_layer(const ModelConfig& c, const AttentionWeights& w, CacheType other) {
  const CacheType type = w.fa ? CacheType::kInt8 : other;
  return {{type, c.kv_lora_rank, c.qk_rope_head_dim}, w.fa ? w.fa->k : 1.0F};
}

}  // namespace

void mtp_input(OpContext& ctx, const ModelConfig& config, const MtpInputWeights& w, Scratch& s,
               ConstMat<float> hidden, Mat<float> x) {
  const auto eps = static_cast<float>(config.rms_norm_eps);
  const std::int64_t size = config.hidden_size;
  const Mat<float> eh = s.eh.view().row_range(0, x.rows);
  rms_norm(ctx, x, w.enorm, eps, eh.col_range(0, size));
  rms_norm(ctx, hidden, w.hnorm, eps, eh.col_range(size, 2 * size));
  linear(ctx, w.eh_proj, eh, x);  // [T, hidden_size]
}

DeepseekModel::DeepseekModel(ModelWeights weights) : weights_(std::move(weights)), rope_(weights_.config) {
  for (const LayerWeights& w : weights_.layers) layers_.emplace_back(weights_.config, w, rope_.table(0));
  if (weights_.mtp)
    mtp_ = std::make_unique<DecoderLayer>(weights_.config, weights_.mtp->layer, rope_.table(0));
}

std::vector<LatentCache::Layer> DeepseekModel::cache_layers(CacheType other) const {
  std::vector<LatentCache::Layer> layers;
  for (const LayerWeights& w : weights_.layers) layers.push_back(cache_layer(config(), w.attention, other));
  if (weights_.mtp) layers.push_back(cache_layer(config(), weights_.mtp->layer.attention, other));
  return layers;
}

void DeepseekModel::embed(OpContext& ctx, const Linear& table, std::span<const std::int32_t> ids,
                          Mat<float> out) const {
  embed_rows(ctx, table, ids, out);
  scale_inplace(ctx, out, static_cast<float>(config().scale_emb));
}

void DeepseekModel::head(OpContext& ctx, const Linear& head, ConstMat<float> hidden, Mat<float> out) const {
  linear(ctx, head, hidden, out);
  scale_inplace(ctx, out, static_cast<float>(1.0 / config().logits_scaling()));
}

// Fills the rotary table, which the layers have a view of.
void DeepseekModel::prepare_positions(const StepBatch& step) const {
  const auto last = std::max_element(step.positions.begin(), step.positions.end());
  if (last != step.positions.end()) static_cast<void>(rope_.table(*last + 1));
}

void DeepseekModel::forward(OpContext& ctx, const StepBatch& step, const AttentionOptions& options,
                            LatentCache& cache, Scratch& s, Mat<float> hidden) const {
  LATENT8_CHECK(step.tokens() <= s.max_tokens);
  prepare_positions(step);
  const Mat<float> x = s.x.view().row_range(0, step.tokens());
  embed(ctx, weights_.embed_tokens, step.token_ids, x);  // [T, hidden_size]
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    layers_[l].forward(ctx, step, options, cache.layer(static_cast<std::int64_t>(l)), s, x);
    s.clipped_per_layer[l] += s.clipped_codes;
  }
  rms_norm(ctx, x, weights_.norm, static_cast<float>(config().rms_norm_eps), hidden);
}

void DeepseekModel::logits(OpContext& ctx, ConstMat<float> hidden, Mat<float> out) const {
  head(ctx, weights_.lm_head, hidden, out);
}

void DeepseekModel::mtp_forward(OpContext& ctx, const StepBatch& step, const AttentionOptions& options,
                                LatentCache& cache, Scratch& s, ConstMat<float> hidden,
                                Mat<float> mtp_hidden) const {
  const MtpWeights& w = *weights_.mtp;
  prepare_positions(step);
  const auto eps = static_cast<float>(config().rms_norm_eps);
  const Mat<float> x = s.x.view().row_range(0, step.tokens());
  embed(ctx, w.embed_tokens, step.token_ids, x);
  mtp_input(ctx, config(), w.input, s, hidden, x);
  mtp_->forward(ctx, step, options, cache.layer(num_layers()), s, x);
  s.clipped_per_layer.back() += s.clipped_codes;
  rms_norm(ctx, x, w.shared_head_norm, eps, mtp_hidden);
}

void DeepseekModel::mtp_logits(OpContext& ctx, ConstMat<float> mtp_hidden, Mat<float> out) const {
  head(ctx, weights_.mtp->shared_head, mtp_hidden, out);
}

}  // namespace latent8
