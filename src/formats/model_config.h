#pragma once
// config.json of the DeepSeek family, checked. Fields keep Hugging Face's spelling.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace latent8 {

// YaRN. Rotary frequencies are blended between the original and the stretched ones; the softmax scale is
// multiplied by get_mscale(factor, mscale_all_dim)^2 where mscale_all_dim is not 0, cos and sin by
// get_mscale(factor, mscale) / get_mscale(factor, mscale_all_dim).
// LongRoPE. Each frequency has a factor of its own, and the magnitude of cos and sin comes from `factor`.
// Source: docs/numerics.md, "RoPE and YaRN", "LongRoPE".
struct RopeScaling {
  std::string type = "yarn";                          // or "longrope"
  double factor = 1.0;                                // >= 1
  std::int64_t original_max_position_embeddings = 0;  // > 0
  // yarn
  double beta_fast = 32.0;  // >= beta_slow
  double beta_slow = 1.0;
  double mscale = 1.0;
  double mscale_all_dim = 0.0;  // 0: the softmax scale is not touched
  // longrope: [qk_rope_head_dim / 2] each, of contexts up to original_max_position_embeddings and beyond
  std::vector<double> short_factor, long_factor;
  std::optional<double> attention_factor;  // instead of what `factor` gives

  bool operator==(const RopeScaling&) const = default;
};

// How many tokens a sequence may have, and what says so.
struct ContextLimit {
  std::int64_t tokens;
  std::string reason;  // "max_position_embeddings of the model"
};

struct ModelConfig {
  // As config.json has it ("deepseek_v3", "glm4_moe_lite", ...), for people: what is computed depends on the
  // other members. The reference's "deepseekv2" becomes "deepseek_v3" or "deepseek_v2", by the gate that it
  // describes.
  std::string model_type;
  bool nested = false;  // the language model of a larger one, whose tensors have a prefix ("language_model.")
  std::vector<std::string> architectures;
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t moe_intermediate_size = 0;  // 0 without experts
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_nextn_predict_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t n_shared_experts = 0;
  std::int64_t n_routed_experts = 0;  // 0: every layer is dense
  std::int64_t num_experts_per_tok = 0;
  std::int64_t n_group = 1;  // divides n_routed_experts; 1 where the gate has no groups ("greedy")
  std::int64_t topk_group = 1;
  std::int64_t first_k_dense_replace = 0;
  std::int64_t moe_layer_freq = 1;
  std::optional<std::int64_t> q_lora_rank;  // none: one q_proj instead of q_a_proj, q_b_proj
  std::int64_t kv_lora_rank = 0;            // a multiple of 16
  std::int64_t qk_nope_head_dim = 0;
  std::int64_t qk_rope_head_dim = 0;  // even
  std::int64_t v_head_dim = 0;
  double routed_scaling_factor = 1.0;
  double rms_norm_eps = 1e-6;
  // Of q_a_layernorm and kv_a_layernorm. No key of config.json: the code that the models were published with
  // makes these two norms without rms_norm_eps, so that they have their class's default, where a config says
  // 1e-5 too. Source: docs/numerics.md, "RMSNorm"; modeling_deepseek.py of the checkpoints, and the models
  // deepseek_v2, deepseek_v3, glm4_moe_lite, minicpm3, longcat_flash of Hugging Face transformers.
  double latent_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  std::optional<RopeScaling> rope_scaling;
  bool rope_interleave = true;        // pairs (2i, 2i + 1) are rotated; false: (i, i + qk_rope_head_dim / 2)
  double scale_emb = 1.0;             // embeddings are multiplied by it
  std::optional<double> scale_depth;  // none: what layers add has no factor
  std::optional<std::int64_t> dim_model_base;  // none: hidden states are not divided before the head
  // The indexer of sparse attention, which lets a query attend to the index_topk best keys: with that many
  // there are no others, which is all that is computed here. 0: no indexer.
  std::int64_t index_topk = 0, index_n_heads = 0, index_head_dim = 0;
  std::string scoring_func;  // "sigmoid" or "softmax"
  std::string topk_method;   // "noaux_tc" (with sigmoid); "greedy" or "group_limited_greedy" (with softmax)
  bool norm_topk_prob = false;
  bool attention_bias = false;  // always false: true is refused
  bool tie_word_embeddings = false;
  std::int64_t max_position_embeddings = 0;
  std::optional<std::int64_t> bos_token_id;
  std::vector<std::int64_t> eos_token_ids;  // those of generation_config.json first
  DType torch_dtype = DType::kBf16;         // kBf16, kF16 or kF32; kBf16 if the file names none
  std::optional<std::array<std::int64_t, 2>> weight_block_size;  // fp8 source: rows, columns per scale
  std::string quantize;       // the reference's mark, e.g. "w8a8_dynamic"; "" if absent
  std::string fa_quant_type;  // "", "FAQuant" or "FAKQuant"

  std::int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  // MTP layers (num_hidden_layers and above) follow the same rule.
  bool is_moe_layer(std::int64_t layer) const {
    return n_routed_experts > 0 && layer >= first_k_dense_replace && layer % moe_layer_freq == 0;
  }
  // What attention and MLP add to the residual stream is multiplied by it.
  double residual_scale() const;
  // Logits are divided by it.
  double logits_scaling() const;
  // max_position_embeddings, or what this program computes exactly if that is less.
  ContextLimit context_limit() const;
  // The model's first layers alone, which compute what they did.
  ModelConfig with_layers(std::int64_t layers) const;

  bool operator==(const ModelConfig&) const = default;
};

// json_text: the content of config.json; `where` (its path) begins every message. Absent keys take the
// defaults of Hugging Face's configuration classes; sizes that differ between all models must be there.
// Throws: Error{kCorrupt | kUnsupported}: "config.json: 'scoring_func': one of ... expected, got 'x'".
ModelConfig parse_model_config(std::string_view json_text, const std::string& where);

// Puts the eos_token_id (a number or a list) of generation_config.json before those of config.json, without
// doubles. Throws: as parse_model_config.
void add_generation_config(ModelConfig& config, std::string_view json_text, const std::string& where);

}  // namespace latent8
