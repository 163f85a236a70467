#include "text/json_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "formats/foreign_file.h"
#include "sys/mapped_file.h"

namespace latent8 {

std::string disguise(std::string_view bytes) {
  if (bytes.empty()) return "empty; download it again";
  if (bytes.starts_with("version https://git-lfs.github.com/spec/"))
    return "a Git LFS pointer and not the file; fetch it with 'git lfs pull'";
  const std::size_t text = bytes.find_first_not_of(" \t\r\n");
  if (text != std::string_view::npos && bytes[text] == '<')
    return "a web page and not the file; download it again";
  constexpr std::size_t kLongestLink = 255;
  if (bytes.size() <= kLongestLink && bytes.starts_with("../") && bytes.find('\n') == std::string_view::npos)
    return "the path of a symbolic link and not the file; copy the file that it names";
  constexpr std::size_t kProbe = 4096;
  if (bytes.find_first_not_of('\0') >= std::min(bytes.size(), kProbe))
    return "filled with zero bytes; download it again";
  return "";
}

nlohmann::json read_json_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  if (const std::string is = disguise(text); !is.empty())
    throw_error(ErrorCode::kCorrupt, "{}: JSON expected, got {} bytes that are {}", path.string(),
                text.size(), is);
  try {
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    if (error.byte >= text.size())
      throw_error(ErrorCode::kCorrupt,
                  "{}: JSON expected, got a file that ends too early, after {} bytes; "
                  "download it again",
                  path.string(), text.size());
    throw_error(ErrorCode::kCorrupt, "{}: not JSON from byte {}", path.string(), error.byte);
  } catch (const nlohmann::json::exception&) {
    throw_error(ErrorCode::kCorrupt, "{}: not JSON", path.string());
  }
}

std::string shown(const nlohmann::json& value) {
  constexpr std::size_t kLongest = 80;
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
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
              key, shown(*found));
}

}  // namespace latent8
