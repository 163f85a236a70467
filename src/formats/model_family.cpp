#include "formats/model_family.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace latent8 {
namespace {

using nlohmann::json;

constexpr FamilyDefaults kV3{.model_type = "deepseek_v3"};
constexpr FamilyDefaults kV2{.model_type = "deepseek_v2",
                             .moe_intermediate_size = 1407,
                             .n_shared_experts = 2,
                             .n_routed_experts = 64,
                             .num_experts_per_tok = 6,
                             .n_group = 1,
                             .topk_group = 1,
                             .first_k_dense_replace = 0,
                             .max_position_embeddings = 2048,
                             .routed_scaling_factor = 1.0,
                             .scoring_func = "softmax",
                             .topk_method = "greedy",
                             .norm_topk_prob = false};
constexpr FamilyDefaults kGlm4MoeLite{.model_type = "glm4_moe_lite",
                                      .q_lora_rank = 768,
                                      .qk_nope_head_dim = 192,
                                      .v_head_dim = 256,
                                      .moe_intermediate_size = 1536,
                                      .n_routed_experts = 64,
                                      .num_experts_per_tok = 4,
                                      .n_group = 1,
                                      .topk_group = 1,
                                      .first_k_dense_replace = 1,
                                      .max_position_embeddings = 202752,
                                      .routed_scaling_factor = 1.8,
                                      .rms_norm_eps = 1e-5};
constexpr FamilyDefaults kSarvamMla{.model_type = "sarvam_mla",
                                    .q_lora_rank = 0,
                                    .n_routed_experts = 128,
                                    .n_group = 1,
                                    .topk_group = 1,
                                    .first_k_dense_replace = 1};
constexpr FamilyDefaults kYoutu{.model_type = "youtu",
                                .n_routed_experts = 0,
                                .max_position_embeddings = 131072,
                                .tie_word_embeddings = true};
constexpr FamilyDefaults kMiniCpm3{.model_type = "minicpm3",
                                   .q_lora_rank = 768,
                                   .kv_lora_rank = 256,
                                   .qk_nope_head_dim = 64,
                                   .qk_rope_head_dim = 32,
                                   .v_head_dim = 0,
                                   .n_routed_experts = 0,
                                   .max_position_embeddings = 32768,
                                   .rms_norm_eps = 1e-5,
                                   .tie_word_embeddings = true,
                                   .rope_interleave = false,
                                   .scale_emb = 12.0,
                                   .scale_depth = 1.4,
                                   .dim_model_base = 256};

constexpr FamilyDefaults kV32{
    .model_type = "deepseek_v32", .max_position_embeddings = 163840, .index_topk = 2048};
constexpr FamilyDefaults kGlmMoeDsa{.model_type = "glm_moe_dsa",
                                    .q_lora_rank = 2048,
                                    .qk_nope_head_dim = 192,
                                    .v_head_dim = 256,
                                    .n_group = 1,
                                    .topk_group = 1,
                                    .max_position_embeddings = 202752,
                                    .rms_norm_eps = 1e-5,
                                    .index_topk = 2048,
                                    .index_n_heads = 32};

struct Family {
  std::string_view model_type;
  const FamilyDefaults* defaults;
};
constexpr std::array kFamilies{Family{"deepseek_v3", &kV3},       Family{"kimi_k2", &kV3},
                               Family{"deepseek_v2", &kV2},       Family{"glm4_moe_lite", &kGlm4MoeLite},
                               Family{"sarvam_mla", &kSarvamMla}, Family{"youtu", &kYoutu},
                               Family{"youtu_llm", &kYoutu},      Family{"minicpm3", &kMiniCpm3},
                               Family{"deepseek_v32", &kV32},     Family{"glm_moe_dsa", &kGlmMoeDsa}};

// Where models with images keep their language model's config.
constexpr std::array kTextConfigs{"text_config", "language_config", "llm_config"};
// What such a config may leave to the whole model's.
constexpr std::array kOuterKeys{
    "architectures", "bos_token_id",        "eos_token_id", "torch_dtype",
    "dtype",         "tie_word_embeddings", "quantize",     "quantization_config"};

struct Spelling {
  const char *other, *usual;
};
constexpr std::array kSpellings{Spelling{"num_experts", "n_routed_experts"},
                                Spelling{"num_local_experts", "n_routed_experts"},
                                Spelling{"num_shared_experts", "n_shared_experts"},
                                Spelling{"num_experts_per_token", "num_experts_per_tok"},
                                Spelling{"num_mtp_layers", "num_nextn_predict_layers"}};

// Keys of computations that are not known; `neutral` is the value (as JSON) with which they compute nothing.
// Those whose computation has tensors of its own are named by these where they stand beside a model_type that
// is known: users who take sparse attention for dense have reasons.
struct Foreign {
  const char *key, *neutral, *what;
  bool has_tensors = false;
};
constexpr std::array kForeign{
    Foreign{"zero_expert_num", "0", "experts that compute nothing"},
    Foreign{"mla_scale_q_lora", "false", "scaled query latents"},
    Foreign{"mla_scale_kv_lora", "false", "scaled key-value latents"},
    Foreign{"sliding_window", "null", "attention in a window"},
    Foreign{"swiglu_limit", "null", "clamped activations"},
    Foreign{"partial_rotary_factor", "1", "rotary positions of a part of qk_rope_head_dim"},
    Foreign{"attn_logit_softcapping", "null", "capped attention scores"},
    Foreign{"final_logit_softcapping", "null", "capped logits"},
    Foreign{"linear_attn_config", "null", "layers of linear attention", true},
    Foreign{"mlp_bias", "false", "biases of MLPs", true},
    Foreign{"use_qk_norm", "false", "norms of queries and keys", true},
    Foreign{"hc_mult", "1", "several residual streams", true}};

// Keys that models of an unknown model_type may have: those that are read (other spellings are gone here) ...
constexpr std::array kReadKeys{"model_type",
                               "architectures",
                               "hidden_act",
                               "vocab_size",
                               "hidden_size",
                               "intermediate_size",
                               "moe_intermediate_size",
                               "num_hidden_layers",
                               "num_nextn_predict_layers",
                               "num_attention_heads",
                               "num_key_value_heads",
                               "n_shared_experts",
                               "n_routed_experts",
                               "num_experts_per_tok",
                               "n_group",
                               "topk_group",
                               "first_k_dense_replace",
                               "moe_layer_freq",
                               "q_lora_rank",
                               "kv_lora_rank",
                               "qk_nope_head_dim",
                               "qk_rope_head_dim",
                               "v_head_dim",
                               "routed_scaling_factor",
                               "rms_norm_eps",
                               "rope_theta",
                               "rope_scaling",
                               "rope_parameters",
                               "rope_interleave",
                               "scale_emb",
                               "scale_depth",
                               "dim_model_base",
                               "index_topk",
                               "index_n_heads",
                               "index_head_dim",
                               "scoring_func",
                               "topk_method",
                               "norm_topk_prob",
                               "attention_bias",
                               "tie_word_embeddings",
                               "max_position_embeddings",
                               "bos_token_id",
                               "eos_token_id",
                               "torch_dtype",
                               "dtype",
                               "quantization_config",
                               "quantize",
                               "mla_quantize",
                               "mtp_quantize",
                               "latent8"};
// ... and those that change no logits.
constexpr std::array kHarmlessKeys{"auto_map",
                                   "transformers_version",
                                   "use_cache",
                                   "pad_token_id",
                                   "initializer_range",
                                   "attention_dropout",
                                   "pretraining_tp",
                                   "ep_size",
                                   "aux_loss_alpha",
                                   "seq_aux",
                                   "output_router_logits",
                                   "router_aux_loss_coef",
                                   "head_dim",
                                   "qk_head_dim",
                                   "q_head_dim",
                                   "_name_or_path",
                                   "_attn_implementation",
                                   "unk_token_id",
                                   "unsloth_fixed",
                                   "embedding_initializer_range",
                                   "output_attentions",
                                   "output_hidden_states",
                                   "return_dict",
                                   "id2label",
                                   "label2id",
                                   "mlp_layer_types"};

// What models differ by, so that nothing can be assumed for a model_type that is not known.
constexpr std::array kNeeded{"q_lora_rank", "kv_lora_rank", "qk_nope_head_dim",       "qk_rope_head_dim",
                             "v_head_dim",  "rms_norm_eps", "max_position_embeddings"};
constexpr std::array kNeededByExperts{"moe_intermediate_size",
                                      "num_experts_per_tok",
                                      "n_shared_experts",
                                      "first_k_dense_replace",
                                      "routed_scaling_factor",
                                      "norm_topk_prob",
                                      "scoring_func",
                                      "topk_method",
                                      "n_group",
                                      "topk_group"};

template <class List>
bool contains(const List& list, std::string_view key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

// Moves the language model's part to the outside. Returns whether there is one.
template <class Json>
bool take_text_config(Json& object) {
  if (!object.is_object() || object.contains("kv_lora_rank")) return false;
  for (const char* key : kTextConfigs) {
    if (!object.contains(key) || !object[key].is_object()) continue;
    Json inner = object[key];
    for (const char* outer : kOuterKeys)
      if (object.contains(outer) && (!inner.contains(outer) || inner[outer].is_null()))
        inner[outer] = object[outer];
    object = std::move(inner);
    return true;
  }
  return false;
}

void take_spellings(json& object, const JsonFields& fields) {
  for (const auto& [other, usual] : kSpellings) {
    const json* value = fields.find(other);
    if (value != nullptr) {
      const json* same = fields.find(usual);
      if (same != nullptr && *same != *value)
        fields.refuse(other, fmt::format("the value of '{}' ({})", usual, same->dump()));
      object[usual] = *value;
    }
    object.erase(other);
  }
}

// "deepseek_yarn" is another name of YaRN.
void take_rope_type(json& object) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!object.contains(key) || !object[key].is_object()) continue;
    for (const char* type : {"type", "rope_type"})
      if (object[key].contains(type) && object[key][type] == "deepseek_yarn") object[key][type] = "yarn";
  }
}

// Layers that come one by one as "dense" or "sparse": the dense ones must be the first.
void take_layer_types(json& object, const JsonFields& fields) {
  const json* types = fields.find("mlp_layer_types");
  if (types == nullptr) return;
  const char* expected = "'dense' for the first layers, then 'sparse', one per layer";
  // More than there are: quantize --layers leaves the rest out.
  const json* layers = fields.find("num_hidden_layers");
  if (!types->is_array() || (layers != nullptr && *layers > types->size()))
    fields.refuse("mlp_layer_types", expected);
  const auto is = [](const char* what) { return [what](const json& v) { return v == what; }; };
  const auto sparse = std::find_if_not(types->begin(), types->end(), is("dense"));
  if (!std::all_of(sparse, types->end(), is("sparse"))) fields.refuse("mlp_layer_types", expected);
  const auto dense = static_cast<std::int64_t>(sparse - types->begin());
  const json* first = fields.find("first_k_dense_replace");
  if (first != nullptr && *first != dense)
    fields.refuse("mlp_layer_types",
                  fmt::format("{} dense layers, as 'first_k_dense_replace' has", first->dump()));
  object["first_k_dense_replace"] = dense;
  object["moe_layer_freq"] = 1;
}

std::string quoted(const std::vector<std::string>& keys) {
  return fmt::format("'{}'", fmt::join(keys, "', '"));
}

// What the key computes, "" for one that computes nothing here.
std::string foreign_computation(const JsonFields& fields, const Foreign& foreign) {
  const json* value = fields.find(foreign.key);
  return value == nullptr || *value == json::parse(foreign.neutral) ? "" : foreign.what;
}

void refuse_foreign_keys(const JsonFields& fields) {
  for (const Foreign& foreign : kForeign)
    if (!foreign.has_tensors && !foreign_computation(fields, foreign).empty())
      fields.refuse(foreign.key, fmt::format("none or {} ({}: latent8 does not compute that)",
                                             foreign.neutral, foreign.what));
  for (const char* rope : {"rope_scaling", "rope_parameters"}) {
    const json* value = fields.find(rope);
    if (value != nullptr && value->is_object() && value->contains("llama_4_scaling_beta"))
      fields.refuse(rope,
                    "no 'llama_4_scaling_beta' (queries scaled by position: latent8 does not compute that)");
  }
}

// A model_type that is not known.
void check_keys(const json& object, const JsonFields& fields, const std::string& type,
                const std::string& where) {
  std::vector<std::string> unknown, missing;
  for (const auto& [key, value] : object.items()) {
    if (value.is_null() || contains(kReadKeys, key) || contains(kHarmlessKeys, key)) continue;
    const auto foreign = std::find_if(kForeign.begin(), kForeign.end(),
                                      [&, name = key](const Foreign& f) { return f.key == name; });
    if (foreign == kForeign.end())
      unknown.push_back(fmt::format("'{}'", key));
    else if (const std::string what = foreign_computation(fields, *foreign); !what.empty())
      unknown.push_back(fmt::format("'{}' ({})", key, what));
  }
  for (const char* key : kNeeded)
    if (!object.contains(key)) missing.emplace_back(key);
  if (!object.contains("rope_theta") && !object.contains("rope_parameters"))
    missing.emplace_back("rope_theta");
  const json* experts = fields.find("n_routed_experts");
  if (experts != nullptr && *experts != 0)
    for (const char* key : kNeededByExperts)
      if (!object.contains(key)) missing.emplace_back(key);
  if (unknown.empty() && missing.empty()) return;
  std::string why;
  if (!unknown.empty()) why += fmt::format("; not known: {}", fmt::join(unknown, ", "));
  if (!missing.empty()) why += fmt::format("; missing: {}", quoted(missing));
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.model_type);
  names.emplace_back("deepseekv2");
  throw_error(
      ErrorCode::kUnsupported,
      "{}: 'model_type': one of {} expected, or a model that computes the same and says so by its keys, "
      "got '{}'{}",
      where, quoted(names), type, why);
}

}  // namespace

const FamilyDefaults& defaults_of(std::string_view model_type) {
  for (const Family& family : kFamilies)
    if (family.model_type == model_type) return *family.defaults;
  return kV3;
}

json language_model_config(json object, const std::string& where, bool& nested) {
  nested = take_text_config(object);
  if (!object.is_object()) return object;
  const json as_given = object;
  const JsonFields fields(as_given, where);
  take_spellings(object, fields);
  take_rope_type(object);
  const json spelled = object;
  take_layer_types(object, JsonFields(spelled, where));
  return object;
}

std::string language_model_config(std::string_view json_text) {
  auto object = nlohmann::ordered_json::parse(json_text);
  return take_text_config(object) ? object.dump(2) : std::string(json_text);
}

const FamilyDefaults& family_defaults(const json& object, const JsonFields& fields,
                                      const std::string& where) {
  refuse_foreign_keys(fields);
  const std::string type = fields.text("model_type");
  // The reference writes "deepseekv2" for V2 and V3 alike; only the gate tells them apart.
  if (type == "deepseekv2") {
    const bool v3 =
        fields.text("scoring_func", "") == "sigmoid" || fields.text("topk_method", "") == "noaux_tc";
    return v3 ? kV3 : kV2;
  }
  for (const Family& family : kFamilies)
    if (family.model_type == type) return *family.defaults;
  check_keys(object, fields, type, where);
  log_info(
      fmt::format("{}: 'model_type' '{}' is not known; its keys are those of a model that is", where, type));
  static constexpr FamilyDefaults kNoExperts = [] {
    FamilyDefaults out = kV3;
    out.n_routed_experts = 0;
    return out;
  }();
  return kNoExperts;
}

}  // namespace latent8
