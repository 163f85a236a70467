#include "formats/rope_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

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

}  // namespace

void read_rope(const json& object, const JsonFields& fields, const std::string& where, ModelConfig& c) {
  const json* parameters = fields.find("rope_parameters");
  const json* scaling = parameters != nullptr ? parameters : fields.find("rope_scaling");
  const json empty = json::object();
  const JsonFields theta(parameters != nullptr && parameters->is_object() ? *parameters : object, where);
  c.rope_theta = theta.positive_number("rope_theta", fields.positive_number("rope_theta", 10000.0));
  const JsonFields rope(scaling != nullptr ? *scaling : empty,
                        where + (parameters != nullptr ? ": rope_parameters" : ": rope_scaling"));
  const char* type_key = rope.has("rope_type") ? "rope_type" : "type";
  if (!rope.has(type_key) && !rope.has("factor")) return;
  const std::string type = rope.one_of(type_key, {"yarn", "longrope", "default"});
  if (type == "yarn") c.rope_scaling = read_yarn(rope, c);
  if (type == "longrope") c.rope_scaling = read_longrope(rope, c);
}

void write_rope(const ModelConfig& c, ordered_json& out) {
  const ordered_json scaling = c.rope_scaling ? scaling_json(*c.rope_scaling) : ordered_json(nullptr);
  out["rope_theta"] = c.rope_theta;
  out["rope_scaling"] = scaling;
  ordered_json parameters = c.rope_scaling ? scaling : ordered_json::object();
  parameters.erase("type");
  parameters["rope_type"] = c.rope_scaling ? c.rope_scaling->type : "default";
  parameters["rope_theta"] = c.rope_theta;
  out["rope_parameters"] = std::move(parameters);
}

}  // namespace latent8
