#pragma once
// Sizes of known models, for benchmarks and random models. The only such list.

#include <optional>
#include <span>
#include <string_view>

#include "formats/model_config.h"

namespace latent8 {

// "v2-lite", "r1", "moonlight", "kimi-k2", "tiny-r1". Source: the models' config.json on Hugging Face.
std::span<const std::string_view> known_shapes();
// The configuration of a known shape; none for other names.
std::optional<ModelConfig> shape_config(std::string_view name);

}  // namespace latent8
