#include "formats/model_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "formats/foreign_file.h"
#include "formats/json.h"
#include "formats/model_family.h"
#include "formats/rope_config.h"

namespace latent8 {
namespace {

using nlohmann::json;

// Products of two sizes and an element size stay far below 2^63.
constexpr std::int64_t kMaxSize = std::int64_t{1} << 24;
constexpr std::int64_t kMaxLayers = 4096;

void read_sizes(const JsonFields& fields, ModelConfig& c) {
  c.vocab_size = fields.integer("vocab_size", 1, kMaxSize);
  c.hidden_size = fields.integer("hidden_size", 1, kMaxSize);
  c.intermediate_size = fields.integer("intermediate_size", 1, kMaxSize);
  c.num_hidden_layers = fields.integer("num_hidden_layers", 1, kMaxLayers);
  c.num_nextn_predict_layers = fields.integer("num_nextn_predict_layers", 0, kMaxLayers, 0);
  c.num_attention_heads = fields.integer("num_attention_heads", 1, kMaxSize);
  if (fields.integer("num_key_value_heads", 1, kMaxSize, c.num_attention_heads) != c.num_attention_heads)
    fields.refuse("num_key_value_heads", fmt::format("num_attention_heads ({})", c.num_attention_heads));
}

void read_attention(const JsonFields& fields, const FamilyDefaults& defaults, ModelConfig& c) {
  if (fields.has("q_lora_rank") || (!fields.is_null("q_lora_rank") && defaults.q_lora_rank > 0))
    c.q_lora_rank = fields.integer("q_lora_rank", 1, kMaxSize, defaults.q_lora_rank);
  c.kv_lora_rank = fields.integer("kv_lora_rank", 16, kMaxSize, defaults.kv_lora_rank);
  if (c.kv_lora_rank % 16 != 0) fields.refuse("kv_lora_rank", "a multiple of 16");
  c.qk_nope_head_dim = fields.integer("qk_nope_head_dim", 1, kMaxSize, defaults.qk_nope_head_dim);
  c.qk_rope_head_dim = fields.integer("qk_rope_head_dim", 2, kMaxSize, defaults.qk_rope_head_dim);
  if (c.qk_rope_head_dim % 2 != 0) fields.refuse("qk_rope_head_dim", "an even number");
  const std::int64_t share = std::max<std::int64_t>(c.hidden_size / c.num_attention_heads, 1);
  c.v_head_dim =
      fields.integer("v_head_dim", 1, kMaxSize, defaults.v_head_dim > 0 ? defaults.v_head_dim : share);
  if (fields.boolean("attention_bias", false)) fields.refuse("attention_bias", "false");
}

void read_indexer(const JsonFields& fields, const FamilyDefaults& defaults, ModelConfig& c) {
  c.index_topk = fields.integer("index_topk", 0, kMaxPositions, defaults.index_topk);
  if (c.index_topk == 0) return;
  if (!c.q_lora_rank) fields.refuse("q_lora_rank", "a number (the indexer reads the query's latent)");
  c.index_n_heads = fields.integer("index_n_heads", 1, kMaxSize, defaults.index_n_heads);
  c.index_head_dim = fields.integer("index_head_dim", 1, kMaxSize, defaults.index_head_dim);
}

// Null says that the model has no such factor.
void read_scales(const JsonFields& fields, const FamilyDefaults& defaults, ModelConfig& c) {
  constexpr double kMaxScale = 1e6;
  const auto absent = [&](const char* key, bool by_default) {
    return !fields.has(key) && (fields.is_null(key) || !by_default);
  };
  c.scale_emb = fields.positive_number("scale_emb", defaults.scale_emb, kMaxScale);
  if (!absent("scale_depth", defaults.scale_depth > 0))
    c.scale_depth = fields.positive_number("scale_depth", defaults.scale_depth, kMaxScale);
  if (!absent("dim_model_base", defaults.dim_model_base > 0))
    c.dim_model_base = fields.integer("dim_model_base", 1, kMaxSize, defaults.dim_model_base);
}

// Null where Hugging Face's classes have a default of their own means that the model has no such thing.
std::int64_t integer_or_null(const JsonFields& fields, const char* key, std::int64_t null_value,
                             std::int64_t fallback) {
  return fields.is_null(key) ? null_value : fields.integer(key, null_value, kMaxSize, fallback);
}

void read_groups(const JsonFields& fields, const FamilyDefaults& defaults, ModelConfig& c) {
  if (c.topk_method == "greedy") return;  // the gate has no groups, whatever the keys say
  if (c.topk_method == "group_limited_greedy")
    for (const char* key : {"n_group", "topk_group"})
      if (!fields.has(key)) fields.refuse(key, "an integer (topk_method has groups)");
  c.n_group = integer_or_null(fields, "n_group", 1, defaults.n_group);
  if (c.n_routed_experts % c.n_group != 0)
    fields.refuse("n_group", fmt::format("a divisor of n_routed_experts ({})", c.n_routed_experts));
  c.topk_group = integer_or_null(fields, "topk_group", 1, defaults.topk_group);
  if (c.topk_group > c.n_group) fields.refuse("topk_group", fmt::format("at most n_group ({})", c.n_group));
  const std::int64_t group_size = c.n_routed_experts / c.n_group;
  if (c.topk_method == "noaux_tc" && c.n_group > 1 && group_size < 2)
    fields.refuse("n_group", "groups of at least 2 experts (noaux_tc scores a group by its two best)");
  if (c.num_experts_per_tok > c.topk_group * group_size)
    fields.refuse("num_experts_per_tok",
                  fmt::format("at most {} (the experts of topk_group groups)", c.topk_group * group_size));
}

void read_experts(const JsonFields& fields, const FamilyDefaults& defaults, ModelConfig& c) {
  c.scoring_func = fields.one_of("scoring_func", {"sigmoid", "softmax"}, std::string(defaults.scoring_func));
  const std::vector<std::string> methods = c.scoring_func == "sigmoid"
                                               ? std::vector<std::string>{"noaux_tc"}
                                               : std::vector<std::string>{"greedy", "group_limited_greedy"};
  const bool usual = c.scoring_func == defaults.scoring_func;
  c.topk_method =
      fields.one_of("topk_method", methods, usual ? std::string(defaults.topk_method) : methods[0]);
  c.norm_topk_prob = fields.boolean("norm_topk_prob", defaults.norm_topk_prob);
  c.routed_scaling_factor =
      fields.positive_number("routed_scaling_factor", defaults.routed_scaling_factor, 1e6);
  c.first_k_dense_replace =
      fields.integer("first_k_dense_replace", 0, kMaxLayers, defaults.first_k_dense_replace);
  c.moe_layer_freq = fields.integer("moe_layer_freq", 1, kMaxLayers, 1);
  c.n_routed_experts = integer_or_null(fields, "n_routed_experts", 0, defaults.n_routed_experts);
  if (c.n_routed_experts == 0) return;
  c.n_shared_experts = integer_or_null(fields, "n_shared_experts", 0, defaults.n_shared_experts);
  c.num_experts_per_tok =
      fields.integer("num_experts_per_tok", 1, c.n_routed_experts, defaults.num_experts_per_tok);
  c.moe_intermediate_size =
      fields.integer("moe_intermediate_size", 1, kMaxSize, defaults.moe_intermediate_size);
  read_groups(fields, defaults, c);
}

std::vector<std::int64_t> read_eos(const JsonFields& fields, std::int64_t vocab_size,
                                   const std::string& where) {
  const json* value = fields.find("eos_token_id");
  if (value == nullptr) return {};
  if (!value->is_array()) return {fields.integer("eos_token_id", 0, vocab_size - 1)};
  std::vector<std::int64_t> ids;
  for (const json& id : *value) {
    const json item = {{"eos_token_id", id}};
    ids.push_back(JsonFields(item, where).integer("eos_token_id", 0, vocab_size - 1));
  }
  return ids;
}

void read_tokens(const JsonFields& fields, const FamilyDefaults& defaults, const std::string& where,
                 ModelConfig& c) {
  if (fields.has("bos_token_id")) c.bos_token_id = fields.integer("bos_token_id", 0, c.vocab_size - 1);
  c.eos_token_ids = read_eos(fields, c.vocab_size, where);
  c.tie_word_embeddings = fields.boolean("tie_word_embeddings", defaults.tie_word_embeddings);
}

void read_dtype(const JsonFields& fields, ModelConfig& c) {
  const char* key = fields.has("torch_dtype") ? "torch_dtype" : "dtype";
  const std::string name = fields.one_of(key, {"bfloat16", "float16", "float32"}, "bfloat16");
  c.torch_dtype = name == "float16" ? DType::kF16 : name == "float32" ? DType::kF32 : DType::kBf16;
}

void read_fp8(const JsonFields& fields, ModelConfig& c) {
  fields.one_of("fmt", {"e4m3"}, "e4m3");
  const json* block = fields.find("weight_block_size");
  const auto extent_ok = [](const json& v) {
    return v.is_number_unsigned() && v.get<std::uint64_t>() >= 1 && v.get<std::uint64_t>() <= 65536;
  };
  if (block == nullptr || !block->is_array() || block->size() != 2 || !extent_ok((*block)[0]) ||
      !extent_ok((*block)[1]))
    fields.refuse("weight_block_size", "two positive integers");
  c.weight_block_size = {(*block)[0].get<std::int64_t>(), (*block)[1].get<std::int64_t>()};
}

[[noreturn]] void refuse_method(const std::string& method, const std::string& where) {
  const std::string_view tool = tool_of_method(method);
  throw_error(
      ErrorCode::kUnsupported,
      "{}: quantization_config: 'quant_method': 'fp8' expected, got '{}'{}: weights quantised by another "
      "method are not read; take the bf16 or fp8 checkpoint that it was made of",
      where, cut_middle(printable(method), 96), tool.empty() ? "" : fmt::format(" (of {})", tool));
}

void read_quantization(const JsonFields& fields, const std::string& where, ModelConfig& c) {
  c.quantize = fields.text("quantize", "");
  for (const char* key : {"compression_config", "quantization"})  // llm-compressor's older key, MLX
    if (const json* other = fields.find(key); other != nullptr && other->is_object())
      refuse_method(key == std::string_view("quantization") ? "MLX" : "compressed-tensors", where);
  const json* config = fields.find("quantization_config");
  if (config == nullptr) return;
  const JsonFields quantization(*config, where + ": quantization_config");
  const std::string method = quantization.text("quant_method", "");
  if (!method.empty() && method != "fp8") refuse_method(method, where);
  const bool bitsandbytes =
      quantization.boolean("load_in_4bit", false) || quantization.boolean("load_in_8bit", false);
  if (method.empty() && (bitsandbytes || quantization.has("bits")))
    refuse_method(bitsandbytes ? "bitsandbytes" : "one without a name", where);
  if (method == "fp8") read_fp8(quantization, c);
  if (quantization.has("kv_quant_type")) quantization.refuse("kv_quant_type", "null");
  c.fa_quant_type = quantization.one_of("fa_quant_type", {"FAQuant", "FAKQuant"}, "");
}

}  // namespace

double ModelConfig::residual_scale() const {
  return scale_depth ? *scale_depth / std::sqrt(static_cast<double>(num_hidden_layers)) : 1.0;
}

double ModelConfig::logits_scaling() const {
  return dim_model_base ? static_cast<double>(hidden_size) / static_cast<double>(*dim_model_base) : 1.0;
}

ContextLimit ModelConfig::context_limit() const {
  ContextLimit limit{max_position_embeddings, "max_position_embeddings of the model"};
  if (rope_scaling && rope_scaling->type == "longrope" &&
      rope_scaling->original_max_position_embeddings < limit.tokens)
    limit = {
        rope_scaling->original_max_position_embeddings,
        "original_max_position_embeddings of the model, beyond which longrope turns the keys that are in "
        "the cache by other angles: latent8 does not"};
  if (index_topk > 0 && index_topk < limit.tokens)
    limit = {index_topk,
             "index_topk of the model: longer contexts attend sparsely, which latent8 does not compute"};
  return limit;
}

ModelConfig ModelConfig::with_layers(std::int64_t layers) const {
  ModelConfig out = *this;
  out.num_hidden_layers = layers;
  if (scale_depth && layers != num_hidden_layers)
    out.scale_depth = residual_scale() * std::sqrt(static_cast<double>(layers));
  return out;
}

ModelConfig parse_model_config(std::string_view json_text, const std::string& where) {
  ModelConfig c;
  const json object = language_model_config(parse_json(json_text, where), where, c.nested);
  const JsonFields fields(object, where);
  const FamilyDefaults& defaults = family_defaults(object, fields, where);
  c.model_type = fields.text("model_type");
  if (c.model_type == "deepseekv2") c.model_type = defaults.model_type;
  if (const json* names = fields.find("architectures")) {
    if (!names->is_array()) fields.refuse("architectures", "a list");
    for (const json& name : *names) {
      if (!name.is_string()) fields.refuse("architectures", "a list of strings");
      c.architectures.push_back(name.get<std::string>());
    }
  }
  fields.one_of("hidden_act", {"silu"}, "silu");
  read_sizes(fields, c);
  read_attention(fields, defaults, c);
  read_indexer(fields, defaults, c);
  read_experts(fields, defaults, c);
  c.rms_norm_eps = fields.positive_number("rms_norm_eps", defaults.rms_norm_eps, 1.0);
  c.max_position_embeddings =
      fields.integer("max_position_embeddings", 1, kMaxPositions, defaults.max_position_embeddings);
  c.rope_interleave = fields.boolean("rope_interleave", defaults.rope_interleave);
  read_rope(object, fields, where, c);
  read_scales(fields, defaults, c);
  read_tokens(fields, defaults, where, c);
  read_dtype(fields, c);
  read_quantization(fields, where, c);
  return c;
}

void add_generation_config(ModelConfig& config, std::string_view json_text, const std::string& where) {
  const json object = parse_json(json_text, where);
  std::vector<std::int64_t> ids = read_eos(JsonFields(object, where), config.vocab_size, where);
  for (const std::int64_t id : config.eos_token_ids)
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  config.eos_token_ids = std::move(ids);
}

}  // namespace latent8
