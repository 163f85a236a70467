#include "text/json_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"
#include "formats/foreign_file.h"
#include "formats/json.h"
#include "sys/mapped_file.h"

namespace latent8 {

nlohmann::json read_json_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  refuse_foreign(text, path.string());
  try {
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    if (error.byte >= text.size())
      throw_error(ErrorCode::kCorrupt,
                  "{}: JSON expected, got a file that ends too early, after {} bytes; "
                  "download it again",
                  path.string(), text.size());
    constexpr std::size_t kShown = 24;
    const std::size_t begin = error.byte > 0 ? error.byte - 1 : 0;
    throw_error(ErrorCode::kCorrupt, "{}: not JSON from byte {} on ('{}')", path.string(), error.byte,
                printable(text.substr(begin, kShown)));
  } catch (const nlohmann::json::exception&) {
    throw_error(ErrorCode::kCorrupt, "{}: not JSON", path.string());
  }
}

std::string token_text(const nlohmann::json& config, const std::string& key, const std::string& where) {
  if (!config.is_object())
    throw_error(ErrorCode::kCorrupt, "{}: a JSON object expected, got {}", where, config.type_name());
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return (*found)["content"].get<std::string>();
  }
  throw_error(ErrorCode::kCorrupt, "{}: '{}': a string or an object with 'content' expected, got {}", where,
              key, shown_json(*found));
}

}  // namespace latent8
