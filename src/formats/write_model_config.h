#pragma once

#include <nlohmann/json_fwd.hpp>

#include "formats/model_config.h"

namespace latent8 {

// What config.json has to say of a model so that no reader has to assume anything: every key that
// parse_model_config() computes with, in the hub's spelling and, where it differs, in that of transformers 5.
// Parsed again it is the same ModelConfig, but for the marks of quantisation (weight_block_size, quantize,
// fa_quant_type), which are not written, and `nested`.
nlohmann::ordered_json write_model_config(const ModelConfig& config);

}  // namespace latent8
