#pragma once
// JSON files of a checkpoint directory.

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace latent8 {

// The file as JSON. Throws: Error{kNotFound | kIo}; Error{kCorrupt} naming the path and what the file is
// instead: a Git LFS pointer, a web page, empty, cut short, or the byte that is no JSON.
nlohmann::json read_json_file(const std::filesystem::path& path);

// The text of a token that tokenizer_config.json names: a string, or an object with "content"; empty if the
// key is absent or null. Throws: Error{kCorrupt} naming `where` and the key.
std::string token_text(const nlohmann::json& config, const std::string& key, const std::string& where);

}  // namespace latent8
