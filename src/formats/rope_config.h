#pragma once
// The rotary parameters of a config.json.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "formats/json.h"
#include "formats/model_config.h"

namespace latent8 {

// Context lengths stay below; what the family has: 202,752; others ten million.
inline constexpr std::int64_t kMaxPositions = std::int64_t{1} << 24;

// Fills rope_theta and rope_scaling, from rope_theta and rope_scaling of `object` or from rope_parameters
// with both (transformers 5). REQUIRES: max_position_embeddings and qk_rope_head_dim are read. Throws: as
// parse_model_config.
void read_rope(const nlohmann::json& object, const JsonFields& fields, const std::string& where,
               ModelConfig& config);

// The keys rope_theta, rope_scaling and rope_parameters, which mean the same.
void write_rope(const ModelConfig& config, nlohmann::ordered_json& out);

}  // namespace latent8
