#include "model/shapes.h"

#include <array>

namespace latent8 {
namespace {

constexpr std::array<std::string_view, 5> kNames{"v2-lite", "r1", "moonlight", "kimi-k2", "tiny-r1"};

ModelConfig v3_config() {
  ModelConfig c;
  c.model_type = "deepseek_v3";
  c.vocab_size = 129280;
  c.hidden_size = 7168;
  c.intermediate_size = 18432;
  c.moe_intermediate_size = 2048;
  c.num_hidden_layers = 61;
  c.num_attention_heads = 128;
  c.n_shared_experts = 1;
  c.n_routed_experts = 256;
  c.num_experts_per_tok = 8;
  c.n_group = 8;
  c.topk_group = 4;
  c.first_k_dense_replace = 3;
  c.q_lora_rank = 1536;
  c.kv_lora_rank = 512;
  c.qk_nope_head_dim = 128;
  c.qk_rope_head_dim = 64;
  c.v_head_dim = 128;
  c.routed_scaling_factor = 2.5;
  c.scoring_func = "sigmoid";
  c.topk_method = "noaux_tc";
  c.norm_topk_prob = true;
  c.max_position_embeddings = 163840;
  c.rope_scaling = RopeScaling{.factor = 40, .original_max_position_embeddings = 4096, .mscale_all_dim = 1.0};
  return c;
}

ModelConfig v2_lite_config() {
  ModelConfig c = v3_config();
  c.model_type = "deepseek_v2";
  c.vocab_size = 102400;
  c.hidden_size = 2048;
  c.intermediate_size = 10944;
  c.moe_intermediate_size = 1408;
  c.num_hidden_layers = 27;
  c.num_attention_heads = 16;
  c.n_shared_experts = 2;
  c.n_routed_experts = 64;
  c.num_experts_per_tok = 6;
  c.n_group = c.topk_group = 1;
  c.first_k_dense_replace = 1;
  c.q_lora_rank.reset();
  c.routed_scaling_factor = 1.0;
  c.scoring_func = "softmax";
  c.topk_method = "greedy";
  c.norm_topk_prob = false;
  c.rope_scaling->mscale = c.rope_scaling->mscale_all_dim = 0.707;
  return c;
}

ModelConfig moonlight_config() {
  ModelConfig c = v2_lite_config();
  c.model_type = "deepseek_v3";
  c.vocab_size = 163840;
  c.intermediate_size = 11264;
  c.scoring_func = "sigmoid";
  c.topk_method = "noaux_tc";
  c.norm_topk_prob = true;
  c.routed_scaling_factor = 2.446;
  c.rms_norm_eps = 1e-5;
  c.rope_theta = 50000;
  c.rope_scaling.reset();
  c.max_position_embeddings = 8192;
  return c;
}

ModelConfig kimi_k2_config() {
  ModelConfig c = v3_config();
  c.model_type = "kimi_k2";
  c.vocab_size = 163840;
  c.num_attention_heads = 64;
  c.n_routed_experts = 384;
  c.n_group = c.topk_group = 1;
  c.first_k_dense_replace = 1;
  c.routed_scaling_factor = 2.827;
  c.rms_norm_eps = 1e-5;
  c.rope_theta = 50000;
  c.rope_scaling->factor = 32;
  c.max_position_embeddings = 131072;
  return c;
}

ModelConfig tiny_r1_config() {
  ModelConfig c = v3_config();
  c.vocab_size = 4096;
  c.hidden_size = 256;
  c.intermediate_size = 768;
  c.moe_intermediate_size = 64;
  c.num_hidden_layers = 5;
  c.num_attention_heads = 4;
  c.n_routed_experts = 16;
  c.num_experts_per_tok = 4;
  c.n_group = 4;
  c.topk_group = 2;
  c.first_k_dense_replace = 1;
  c.q_lora_rank = 128;
  c.qk_nope_head_dim = c.v_head_dim = 64;
  c.rope_scaling->factor = 8;
  c.rope_scaling->original_max_position_embeddings = 1024;
  c.max_position_embeddings = 8192;
  return c;
}

}  // namespace

std::span<const std::string_view> known_shapes() { return kNames; }

std::optional<ModelConfig> shape_config(std::string_view name) {
  if (name == "v2-lite") return v2_lite_config();
  if (name == "r1") return v3_config();
  if (name == "moonlight") return moonlight_config();
  if (name == "kimi-k2") return kimi_k2_config();
  if (name == "tiny-r1") return tiny_r1_config();
  return std::nullopt;
}

}  // namespace latent8
