#include "model/decoder_layer.h"

#include <optional>

#include "model/gate.h"

namespace latent8 {

void DecoderLayer::forward(OpContext& ctx, const StepBatch& step, const AttentionOptions& options,
                           LatentPages pages, Scratch& s, Mat<float> x) const {
  const Mat<float> h = s.h.view().row_range(0, x.rows), delta = s.delta.view().row_range(0, x.rows);
  attend(ctx, step, options, pages, s, x);
  add_rms_norm(ctx, x, delta, residual_scale_, w_.post_attention_layernorm,
               static_cast<float>(config_.rms_norm_eps), h);
  mlp(ctx, s, h, delta);
  add_to_stream(ctx, x, delta);
}

void DecoderLayer::add_to_stream(OpContext& ctx, Mat<float> x, ConstMat<float> delta) const {
  add_inplace(ctx, x, delta, residual_scale_);
}

void DecoderLayer::attention_block(OpContext& ctx, const StepBatch& step, const AttentionOptions& options,
                                   LatentPages pages, Scratch& s, Mat<float> x) const {
  attend(ctx, step, options, pages, s, x);
  add_to_stream(ctx, x, s.delta.view().row_range(0, x.rows));
}

// Fills s.delta.
void DecoderLayer::attend(OpContext& ctx, const StepBatch& step, const AttentionOptions& options,
                          LatentPages pages, Scratch& s, ConstMat<float> x) const {
  const Mat<float> h = s.h.view().row_range(0, x.rows);
  rms_norm(ctx, x, w_.input_layernorm, static_cast<float>(config_.rms_norm_eps), h);
  attention_.forward(ctx, step, options, pages, s, h, s.delta.view().row_range(0, x.rows));
}

void DecoderLayer::mlp_block(OpContext& ctx, Scratch& s, Mat<float> x) const {
  const Mat<float> h = s.h.view().row_range(0, x.rows), delta = s.delta.view().row_range(0, x.rows);
  mlp_input(ctx, x, h);
  mlp(ctx, s, h, delta);
  add_to_stream(ctx, x, delta);
}

void DecoderLayer::mlp(OpContext& ctx, Scratch& s, ConstMat<float> h, Mat<float> out) const {
  if (!w_.moe) return common_mlp(ctx, s, h, out);
  std::optional<ConstMat<float>> shared;
  if (has_common_mlp()) {
    common_mlp(ctx, s, h, s.shared.view().row_range(0, h.rows));
    shared = s.shared.view().row_range(0, h.rows);
  }
  choose_experts(ctx, s, h);
  grouped_mlp(ctx, w_.moe->experts, s.routing, h, shared, s.mlp, out);  // [T, hidden_size]
}

void DecoderLayer::mlp_input(OpContext& ctx, ConstMat<float> x, Mat<float> h) const {
  rms_norm(ctx, x, w_.post_attention_layernorm, static_cast<float>(config_.rms_norm_eps), h);
}

void DecoderLayer::choose_experts(OpContext& ctx, Scratch& s, ConstMat<float> h) const {
  const Mat<float> gate = s.gate.view().row_range(0, h.rows);
  linear(ctx, w_.moe->gate, h, gate);  // [T, n_routed_experts]
  route(ctx, routing_rule(config_), gate, w_.moe->e_score_correction_bias, s.routing);
}

void DecoderLayer::common_mlp(OpContext& ctx, Scratch& s, ConstMat<float> h, Mat<float> out) const {
  gated_mlp(ctx, w_.mlp ? *w_.mlp : *w_.moe->shared_experts, h, s.mlp, out);
}

}  // namespace latent8
