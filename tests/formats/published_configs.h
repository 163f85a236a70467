#pragma once
// Configs as they are published, and ways to change them.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "formats/model_config.h"
#include "support/errors.h"

namespace latent8 {

using nlohmann::json;

// The sizes of DeepSeek-R1 (its config.json on Hugging Face).
inline json r1() {
  return json::parse(R"({"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"],
    "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
    "num_hidden_layers": 61, "num_nextn_predict_layers": 1, "num_attention_heads": 128, "num_key_value_heads": 128,
    "n_shared_experts": 1, "n_routed_experts": 256, "routed_scaling_factor": 2.5, "kv_lora_rank": 512,
    "q_lora_rank": 1536, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128, "n_group": 8,
    "topk_group": 4, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "moe_layer_freq": 1,
    "norm_topk_prob": true, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "hidden_act": "silu",
    "max_position_embeddings": 163840, "rms_norm_eps": 1e-06, "rope_theta": 10000, "bos_token_id": 0,
    "eos_token_id": 1, "tie_word_embeddings": false, "attention_bias": false, "torch_dtype": "bfloat16",
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                     "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0},
    "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                            "weight_block_size": [128, 128]}})");
}

inline json v2_lite() {
  return json::parse(R"({"model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048,
    "intermediate_size": 10944, "moe_intermediate_size": 1408, "num_hidden_layers": 27, "num_attention_heads": 16,
    "num_key_value_heads": 16, "n_shared_experts": 2, "n_routed_experts": 64, "routed_scaling_factor": 1.0,
    "kv_lora_rank": 512, "q_lora_rank": null, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128,
    "n_group": 1, "topk_group": 1, "num_experts_per_tok": 6, "first_k_dense_replace": 1, "norm_topk_prob": false,
    "scoring_func": "softmax", "topk_method": "greedy", "max_position_embeddings": 163840,
    "bos_token_id": 100000, "eos_token_id": 100001, "torch_dtype": "bfloat16",
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                     "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707}})");
}

inline ModelConfig parse_config(const json& object) {
  return parse_model_config(object.dump(), "config.json");
}

inline json with(json object, const std::string& key, const json& value) {
  object[key] = value;
  return object;
}
inline json without(json object, const std::string& key) {
  object.erase(key);
  return object;
}
inline std::string refusal_of_config(const json& object, ErrorCode code = ErrorCode::kUnsupported) {
  return error_of(code, [&] { parse_config(object); });
}

// What is absent in openbmb/MiniCPM3-4B's config.json, or null, is what its class has.
inline json minicpm3() {
  const std::vector<double> factors(16, 1.25);
  return {{"model_type", "minicpm3"},
          {"vocab_size", 73448},
          {"hidden_size", 2560},
          {"intermediate_size", 6400},
          {"num_hidden_layers", 62},
          {"num_attention_heads", 40},
          {"rope_scaling",
           {{"type", "longrope"},
            {"short_factor", factors},
            {"long_factor", factors},
            {"original_max_position_embeddings", 32768}}}};
}

inline json mistral4() {
  return json::parse(R"({"model_type": "mistral4", "vocab_size": 131072, "hidden_size": 4096,
    "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32, "moe_intermediate_size": 2048})");
}

}  // namespace latent8
