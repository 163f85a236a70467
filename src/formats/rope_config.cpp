#include "formats/rope_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "formats/model_family.h"

namespace latent8 {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr double kMaxFactor = 1e6;

RopeScaling read_yarn(const JsonFields& rope, const ModelConfig& c) {
  if (rope.has("attention_factor")) rope.refuse("attention_factor", "nothing (mscale and mscale_all_dim)");
  if (!rope.boolean("truncate", true)) rope.refuse("truncate", "true");
  RopeScaling yarn;
  yarn.factor = rope.positive_number("factor", {}, kMaxFactor);
  if (yarn.factor < 1) rope.refuse("factor", "at least 1");
  yarn.original_max_position_embeddings =
      rope.integer("original_max_position_embeddings", 1, kMaxPositions, c.max_position_embeddings);
  yarn.beta_fast = rope.positive_number("beta_fast", 32.0);
  yarn.beta_slow = rope.positive_number("beta_slow", 1.0);
  if (yarn.beta_fast < yarn.beta_slow) rope.refuse("beta_fast", "at least beta_slow");
  yarn.mscale = rope.number("mscale", 1.0);
  yarn.mscale_all_dim = rope.number("mscale_all_dim", 0.0);
  if (yarn.mscale < 0) rope.refuse("mscale", "at least 0");
  if (yarn.mscale_all_dim < 0) rope.refuse("mscale_all_dim", "at least 0");
  return yarn;
}

std::vector<double> frequency_factors(const JsonFields& rope, const char* key, std::int64_t count) {
  const json* list = rope.find(key);
  const auto good = [](const json& v) {
    return v.is_number() && v.get<double>() > 0 && v.get<double>() <= kMaxFactor;
  };
  if (list == nullptr || !list->is_array() || static_cast<std::int64_t>(list->size()) != count ||
      !std::all_of(list->begin(), list->end(), good))
    rope.refuse(key, fmt::format("{} positive numbers (qk_rope_head_dim / 2)", count));
  return list->get<std::vector<double>>();
}

RopeScaling read_longrope(const JsonFields& rope, const ModelConfig& c) {
  RopeScaling out;
  out.type = "longrope";
  out.original_max_position_embeddings =
      rope.integer("original_max_position_embeddings", 2, kMaxPositions, c.max_position_embeddings);
  const double stretched = static_cast<double>(c.max_position_embeddings) /
                           static_cast<double>(out.original_max_position_embeddings);
  out.factor = rope.positive_number("factor", std::max(stretched, 1.0), kMaxFactor);
  if (out.factor < 1) rope.refuse("factor", "at least 1");
  out.short_factor = frequency_factors(rope, "short_factor", c.qk_rope_head_dim / 2);
  out.long_factor = frequency_factors(rope, "long_factor", c.qk_rope_head_dim / 2);
  if (rope.has("attention_factor")) out.attention_factor = rope.positive_number("attention_factor");
  return out;
}

ordered_json scaling_json(const RopeScaling& rope) {
  ordered_json out = {{"type", rope.type},
                      {"factor", rope.factor},
                      {"original_max_position_embeddings", rope.original_max_position_embeddings}};
  if (rope.type == "longrope") {
    out["short_factor"] = rope.short_factor;
    out["long_factor"] = rope.long_factor;
    if (rope.attention_factor) out["attention_factor"] = *rope.attention_factor;
    return out;
  }
  out["beta_fast"] = rope.beta_fast;
  out["beta_slow"] = rope.beta_slow;
  out["mscale"] = rope.mscale;
  out["mscale_all_dim"] = rope.mscale_all_dim;
  return out;
}

// Beside rotary parameters where these have the same original length, for transformers, and on its own.
void write_query_scaling(const QueryScaling& scaling, ordered_json& parameters, ordered_json& out) {
  const char* length = "original_max_position_embeddings";
  if (!parameters.contains(length)) parameters[length] = scaling.original_max_position_embeddings;
  if (parameters[length] == scaling.original_max_position_embeddings)
    parameters["llama_4_scaling_beta"] = scaling.beta;
  out["llama_4_scaling"] = {{"beta", scaling.beta}, {length, scaling.original_max_position_embeddings}};
}

double rotated_share(const ModelConfig& c) {
  return static_cast<double>(c.qk_rope_head_dim) / static_cast<double>(c.qk_head_dim());
}

// Of a head's channels, where they are counted with those that are not rotated, or of the rotated ones.
void check_rotated_part(const JsonFields& rope, const ModelConfig& c) {
  const double part = rope.number("partial_rotary_factor", 1.0);
  const double share = rotated_share(c);
  if (part != 1.0 && std::fabs(part - share) > 1e-6)
    rope.refuse("partial_rotary_factor", fmt::format("1 or {} (qk_rope_head_dim of a head)", share));
}

// Beside the rotary parameters (transformers), or on its own (vLLM, and what write_rope() writes).
void read_query_scaling(const JsonFields& rope, const JsonFields& fields, const std::string& where,
                        ModelConfig& c) {
  const auto read = [](const JsonFields& in, const char* beta) -> std::optional<QueryScaling> {
    const double value = in.number(beta, 0.0);
    if (value < 0 || value > kMaxFactor) in.refuse(beta, fmt::format("0 to {}", kMaxFactor));
    if (value == 0) return std::nullopt;
    return QueryScaling{value, in.integer("original_max_position_embeddings", 1, kMaxPositions)};
  };
  if (rope.has("llama_4_scaling_beta")) c.llama_4_scaling = read(rope, "llama_4_scaling_beta");
  const json* own = fields.find("llama_4_scaling");
  if (own == nullptr) return;
  const std::optional<QueryScaling> scaling = read(JsonFields(*own, where + ": llama_4_scaling"), "beta");
  if (rope.has("llama_4_scaling_beta") && scaling != c.llama_4_scaling)
    fields.refuse("llama_4_scaling", "what 'llama_4_scaling_beta' of the rotary parameters says");
  c.llama_4_scaling = scaling;
}

}  // namespace

void read_rope(const json& given, std::string_view assumed, const std::string& where, ModelConfig& c) {
  json object = given;
  const JsonFields said(given, where);
  if (!assumed.empty() && !said.has("rope_parameters") && !said.has("rope_scaling"))
    object["rope_parameters"] = json::parse(assumed);
  const JsonFields fields(object, where);
  const json* parameters = fields.find("rope_parameters");
  const json* scaling = parameters != nullptr ? parameters : fields.find("rope_scaling");
  const json empty = json::object();
  const JsonFields theta(parameters != nullptr && parameters->is_object() ? *parameters : object, where);
  c.rope_theta = theta.positive_number("rope_theta", fields.positive_number("rope_theta", 10000.0));
  const JsonFields rope(scaling != nullptr ? *scaling : empty,
                        where + (parameters != nullptr ? ": rope_parameters" : ": rope_scaling"));
  check_rotated_part(rope, c);
  read_query_scaling(rope, fields, where, c);
  const char* type_key = rope.has("rope_type") ? "rope_type" : "type";
  if (!rope.has(type_key) && !rope.has("factor")) return;
  const std::string type = rope.one_of(type_key, {"yarn", "longrope", "default"});
  if (type == "yarn") c.rope_scaling = read_yarn(rope, c);
  if (type == "longrope") c.rope_scaling = read_longrope(rope, c);
}

void write_rope(const ModelConfig& c, ordered_json& out) {
  ordered_json scaling = c.rope_scaling ? scaling_json(*c.rope_scaling) : ordered_json::object();
  // Classes that assume rotary parameters count rotated channels among a head's, and look for that here too.
  if (c.rope_scaling && !defaults_of(c.model_type).rope_parameters.empty())
    scaling["partial_rotary_factor"] = rotated_share(c);
  if (c.llama_4_scaling) write_query_scaling(*c.llama_4_scaling, scaling, out);
  out["rope_theta"] = c.rope_theta;
  out["rope_scaling"] = c.rope_scaling ? scaling : ordered_json(nullptr);
  ordered_json parameters = std::move(scaling);
  parameters.erase("type");
  parameters["rope_type"] = c.rope_scaling ? c.rope_scaling->type : "default";
  parameters["rope_theta"] = c.rope_theta;
  out["rope_parameters"] = std::move(parameters);
}

}  // namespace latent8
