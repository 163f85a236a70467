#include "quant/compat/attention_forward.h"

#include <algorithm>

#include "kernels/gemm_args.h"
#include "kernels/kernel_table.h"
#include "ops/elementwise.h"
#include "ops/expanded_attend.h"
#include "quant/compat/recall_window.h"
#include "quant/weights/rounding.h"

namespace latent8::compat {

Linear view_of(const Matrix<float>& weight, const std::vector<float>& bias) {
  Linear out;
  out.out_features = weight.rows();
  out.in_features = weight.cols();
  out.weight = weight.row(0);
  out.type = WeightType::kF32;
  out.bias = bias.empty() ? nullptr : bias.data();
  return out;
}

AttentionForward::AttentionForward(const ModelConfig& config, OpContext& ctx)
    : config_(config), ctx_(ctx), rope_(config) {}

HeadWeights AttentionForward::w_uk(const AttentionTensors& w) const {
  return {config_.num_attention_heads,
          config_.qk_nope_head_dim,
          config_.kv_lora_rank,
          0,
          config_.qk_nope_head_dim + config_.v_head_dim,
          view_of(w.kv_b_proj.weight)};
}

HeadWeights AttentionForward::w_uv(const AttentionTensors& w) const {
  HeadWeights out = w_uk(w);
  out.rows = config_.v_head_dim;
  out.row0 = config_.qk_nope_head_dim;
  return out;
}

void AttentionForward::run(const AttentionTensors& w, const TokenBatch& batch, const AtInput& at_input,
                           Mat<float> x) {
  const std::int64_t T = batch.tokens(), rank = config_.kv_lora_rank, heads = config_.num_attention_heads;
  const auto eps = static_cast<float>(config_.latent_norm_eps);
  const auto norm = [&](const Norm& weights, Mat<float> values) {
    rms_norm(ctx_, values, weights, eps, values);
  };
  h_ = Matrix<float>(T, config_.hidden_size);
  c_q_ = Matrix<float>(T, *config_.q_lora_rank);
  q_ = Matrix<float>(T, heads * config_.qk_head_dim());
  kv_ = Matrix<float>(T, rank + config_.qk_rope_head_dim);
  o_ = Matrix<float>(T, heads * config_.v_head_dim);
  delta_ = Matrix<float>(T, config_.hidden_size);

  rms_norm(ctx_, x, {w.input_layernorm.weight, w.input_layernorm.bias},
           static_cast<float>(config_.rms_norm_eps), h_.view());
  at_input(Group::kHidden, h_.view());
  linear(ctx_, view_of(w.q_a_proj.weight, w.q_a_proj.bias), h_.view(), c_q_.view());
  linear(ctx_, view_of(w.kv_a_proj_with_mqa.weight, w.kv_a_proj_with_mqa.bias), h_.view(), kv_.view());
  norm({w.q_a_layernorm.weight, w.q_a_layernorm.bias}, c_q_.view());
  at_input(Group::kCQ, c_q_.view());
  linear(ctx_, view_of(w.q_b_proj.weight, w.q_b_proj.bias), c_q_.view(), q_.view());
  norm({w.kv_a_layernorm.weight, w.kv_a_layernorm.bias}, kv_.view().col_range(0, rank));
  rope(ctx_, kv_.view(), 1, kv_.cols(), rank, batch.positions, rope_.table());
  rope(ctx_, q_.view(), heads, config_.qk_head_dim(), config_.qk_nope_head_dim, batch.positions,
       rope_.table());
  for (std::int64_t b = 0; b < batch.sequences; ++b) attend(w, batch, b);
  at_input(Group::kO, o_.view());
  linear(ctx_, view_of(w.o_proj.weight, w.o_proj.bias), o_.view(), delta_.view());
  add_inplace(ctx_, x, delta_.view());
}

void AttentionForward::attend(const AttentionTensors& w, const TokenBatch& batch, std::int64_t sequence) {
  const std::int64_t begin = sequence * batch.length, end = begin + batch.length,
                     pads = batch.pads[static_cast<std::size_t>(sequence)], first = begin + pads;
  const std::int64_t rank = config_.kv_lora_rank;
  const HeadWeights uk = w_uk(w), uv = w_uv(w);
  const Mat<float> kv = kv_.view().row_range(first, end);
  expanded_attend(ctx_, {&uk, &uv, config_.qk_head_dim(), softmax_scale(config_)},
                  q_.view().row_range(first, end), kv.col_range(0, rank), kv.col_range(rank, kv.cols),
                  o_.view().row_range(first, end));
  if (pads == 0) return;
  // Every score of a pad is the mask's, so the softmax weighs all keys of the sequence alike.
  Matrix<float> mean(1, config_.num_attention_heads * rank);
  for (std::int64_t c = 0; c < rank; ++c) {
    double sum = 0.0;
    for (std::int64_t t = begin; t < end; ++t) sum += kv_.row(t)[c];
    for (std::int64_t h = 0; h < config_.num_attention_heads; ++h)
      mean.row(0)[h * rank + c] = static_cast<float>(sum / static_cast<double>(batch.length));
  }
  per_head_linear(ctx_, uv, mean.view(), o_.view().row_range(begin, begin + 1));
  for (std::int64_t t = begin + 1; t < first; ++t) std::copy_n(o_.row(begin), o_.cols(), o_.row(t));
}

FaRanges AttentionForward::fa_ranges(DType type, const AttentionTensors& w, const TokenBatch& batch) {
  const std::int64_t heads = config_.num_attention_heads, rank = config_.kv_lora_rank, S = batch.length;
  FaRanges out{std::vector<Range>(static_cast<std::size_t>(heads)), {}, {}};
  const std::int64_t row_size = batch.sequences * S * rank;
  std::vector<std::vector<float>> buffers(static_cast<std::size_t>(ctx_.threads()));
  ctx_.pool().parallel_for(heads, 1, [&](std::int64_t row, std::int64_t, int worker) {
    std::vector<float>& values = buffers[static_cast<std::size_t>(worker)];
    values.resize(static_cast<std::size_t>(row_size));
    for (std::int64_t i = 0; i < batch.sequences; ++i) {
      const std::int64_t block = row * batch.sequences + i, sequence = block / heads, head = block % heads;
      GemmNnF32Args args{};  // [S, qk_nope_head_dim] x [qk_nope_head_dim, rank]
      args.a = q_.row(sequence * S) + head * config_.qk_head_dim();
      args.a_stride = q_.cols();
      args.b = w.kv_b_proj.weight.row(head * (config_.qk_nope_head_dim + config_.v_head_dim));
      args.b_stride = rank;
      args.b_type = WeightType::kF32;
      args.c = values.data() + i * S * rank;
      args.c_stride = rank;
      args.m = S;
      args.n = rank;
      args.k = config_.qk_nope_head_dim;
      ctx_.kernels().gemm_nn_f32(args);
    }
    round_in_place(type, values);
    out.q[static_cast<std::size_t>(row)] = recall_window(values, kRecallRatio);
  });
  std::vector<float> latent;
  for (std::int64_t t = 0; t < batch.tokens(); ++t)
    latent.insert(latent.end(), kv_.row(t), kv_.row(t) + rank);
  round_in_place(type, latent);
  out.v = range_of(latent);
  out.k = recall_window(latent, kRecallRatio);
  return out;
}

}  // namespace latent8::compat
