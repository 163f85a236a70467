#include "apps/tokenizer_settings.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "formats/files.h"
#include "formats/json.h"

namespace latent8 {
namespace {

bool adds_bos(const std::string& dir) {
  const auto path = std::filesystem::path(dir) / "tokenizer_config.json";
  if (!std::filesystem::exists(path)) return true;
  const nlohmann::json config = parse_json(read_text_file(path), path.string());
  return JsonFields(config, path.string()).boolean("add_bos_token", true);
}

}  // namespace

std::vector<std::int32_t> encode_prompt(const Tokenizer& tokenizer, const std::string& dir,
                                        std::string_view text) {
  std::vector<std::int32_t> ids = tokenizer.encode(text);
  const auto bos = tokenizer.bos_id();
  if (bos && (ids.empty() || ids.front() != *bos) && adds_bos(dir)) ids.insert(ids.begin(), *bos);
  return ids;
}

}  // namespace latent8
