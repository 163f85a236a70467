#include "formats/write_model_config.h"

#include <nlohmann/json.hpp>

#include "formats/model_family.h"
#include "formats/rope_config.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(DType dtype) {
  return dtype == DType::kF16 ? "float16" : dtype == DType::kF32 ? "float32" : "bfloat16";
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

void write_experts(const ModelConfig& c, Json& out) {
  out["n_routed_experts"] = c.n_routed_experts;
  if (c.n_routed_experts > 0) {
    out["n_shared_experts"] = c.n_shared_experts;
    out["num_experts_per_tok"] = c.num_experts_per_tok;
    out["moe_intermediate_size"] = c.moe_intermediate_size;
    out["n_group"] = c.n_group;
    out["topk_group"] = c.topk_group;
  }
  out["moe_layer_freq"] = c.moe_layer_freq;
  out["first_k_dense_replace"] = c.first_k_dense_replace;
  out["scoring_func"] = c.scoring_func;
  out["topk_method"] = c.topk_method;
  out["norm_topk_prob"] = c.norm_topk_prob;
  out["routed_scaling_factor"] = c.routed_scaling_factor;
}

// Keys of few models are written where they say something, or where their absence would.
void write_what_v3_lacks(const ModelConfig& c, const FamilyDefaults& assumed, Json& out) {
  if (!c.rope_interleave || !assumed.rope_interleave) out["rope_interleave"] = c.rope_interleave;
  if (c.scale_emb != 1.0 || assumed.scale_emb != 1.0) out["scale_emb"] = c.scale_emb;
  if (c.scale_depth || assumed.scale_depth > 0) out["scale_depth"] = or_null(c.scale_depth);
  if (c.dim_model_base || assumed.dim_model_base > 0) out["dim_model_base"] = or_null(c.dim_model_base);
  if (c.index_topk > 0 || assumed.index_topk > 0) out["index_topk"] = c.index_topk;
  if (c.index_topk == 0) return;
  out["index_n_heads"] = c.index_n_heads;
  out["index_head_dim"] = c.index_head_dim;
}

}  // namespace

Json write_model_config(const ModelConfig& c) {
  Json out = {{"model_type", c.model_type},
              {"vocab_size", c.vocab_size},
              {"hidden_size", c.hidden_size},
              {"intermediate_size", c.intermediate_size},
              {"num_hidden_layers", c.num_hidden_layers},
              {"num_nextn_predict_layers", c.num_nextn_predict_layers},
              {"num_attention_heads", c.num_attention_heads},
              {"num_key_value_heads", c.num_attention_heads},
              {"q_lora_rank", or_null(c.q_lora_rank)},
              {"kv_lora_rank", c.kv_lora_rank},
              {"qk_nope_head_dim", c.qk_nope_head_dim},
              {"qk_rope_head_dim", c.qk_rope_head_dim},
              {"v_head_dim", c.v_head_dim}};
  write_experts(c, out);
  out["hidden_act"] = "silu";
  out["attention_bias"] = c.attention_bias;
  out["tie_word_embeddings"] = c.tie_word_embeddings;
  out["rms_norm_eps"] = c.rms_norm_eps;
  out["max_position_embeddings"] = c.max_position_embeddings;
  write_rope(c, out);
  write_what_v3_lacks(c, defaults_of(c.model_type), out);
  if (!c.architectures.empty()) out["architectures"] = c.architectures;
  if (c.bos_token_id) out["bos_token_id"] = *c.bos_token_id;
  out["eos_token_id"] = c.eos_token_ids;
  for (const char* key : {"torch_dtype", "dtype"}) out[key] = name_of(c.torch_dtype);
  return out;
}

}  // namespace latent8
