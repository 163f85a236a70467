#pragma once
// Models of the family by their config.json: other spellings of the same keys, what each model's own class
// assumes where a key is absent, and the keys of computations that latent8 does not know. CONTRIBUTING.md,
// "Add a model".

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "formats/json.h"

namespace latent8 {

// The values of absent keys, where a class has no others those of DeepSeek V3. Source: the configuration
// classes of transformers 5.24.
struct FamilyDefaults {
  std::string_view model_type;
  std::int64_t q_lora_rank = 1536;  // 0: none
  std::int64_t kv_lora_rank = 512, qk_nope_head_dim = 128, qk_rope_head_dim = 64;
  std::int64_t v_head_dim = 128;  // 0: hidden_size / num_attention_heads
  std::int64_t moe_intermediate_size = 2048, n_shared_experts = 1, n_routed_experts = 256,
               num_experts_per_tok = 8, n_group = 8, topk_group = 4, first_k_dense_replace = 3;
  std::int64_t max_position_embeddings = 4096;
  double routed_scaling_factor = 2.5, rms_norm_eps = 1e-6;
  std::string_view scoring_func = "sigmoid", topk_method = "noaux_tc";
  bool norm_topk_prob = true, tie_word_embeddings = false, rope_interleave = true;
  double scale_emb = 1.0, scale_depth = 0.0;                              // 0: none
  std::int64_t dim_model_base = 0;                                        // 0: none
  std::int64_t index_topk = 0, index_n_heads = 64, index_head_dim = 128;  // index_topk 0: no indexer
};

// Of a model_type that is not known, and of the reference's "deepseekv2", those of V3.
const FamilyDefaults& defaults_of(std::string_view model_type);

// The language model's part of a config.json, with the keys that ModelConfig has: that of a model with images
// stands in 'text_config' (or 'language_config', 'llm_config'); num_experts and the like get their usual
// names, mlp_layer_types becomes first_k_dense_replace. `nested`: whether there was such a part. Throws:
// Error{kUnsupported | kCorrupt} for spellings that contradict each other, and for layers that are neither
// dense nor sparse, or dense behind a sparse one.
nlohmann::json language_model_config(nlohmann::json object, const std::string& where, bool& nested);

// The same part of config.json as text, its keys as they are and in their order; the text itself if nothing
// is nested. REQUIRES: a JSON object.
std::string language_model_config(std::string_view json_text);

// What is assumed for the model. A model_type that is not known is taken by its keys: it has to have all that
// models differ by, and none that is not known. fields: of language_model_config().
// Throws: Error{kUnsupported} saying which keys are missing, or not known, or mean another computation.
const FamilyDefaults& family_defaults(const nlohmann::json& object, const JsonFields& fields,
                                      const std::string& where);

}  // namespace latent8
