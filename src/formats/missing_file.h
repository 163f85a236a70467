#pragma once
// What to say where a checkpoint lacks its config.json or its weights: what is there instead, and the way
// out.

#include <filesystem>
#include <string>

namespace latent8 {

// "config.json expected, got ...". Throws: Error{kNotFound | kIo} as list_folder().
std::string missing_config_text(const std::filesystem::path& dir);

// "*.safetensors expected, got ...". Throws: likewise.
std::string missing_weights_text(const std::filesystem::path& dir);

}  // namespace latent8
