#include "text/json_file.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "formats/foreign_file.h"
#include "sys/mapped_file.h"

namespace latent8 {

nlohmann::json read_json_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto* text = reinterpret_cast<const char*>(file.bytes().data());
  try {
    return nlohmann::json::parse(text, text + file.bytes().size());
  } catch (const nlohmann::json::exception& error) {
    refuse_foreign(file.bytes(), path.string());
    const std::string_view what = error.what();  // "[json.exception.parse_error.101] parse error at ..."
    const auto prefix = what.find("] ");
    throw_error(ErrorCode::kCorrupt, "{}: not JSON: {}; is it truncated?", path.string(),
                prefix == std::string_view::npos ? what : what.substr(prefix + 2));
  }
}

std::string token_text(const nlohmann::json& config, const std::string& key, const std::string& where) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return (*found)["content"].get<std::string>();
  }
  throw_error(ErrorCode::kCorrupt, "{}: '{}': a string or an object with 'content' expected, got {}", where,
              key, found->dump());
}

}  // namespace latent8
