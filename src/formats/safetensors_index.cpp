#include "formats/safetensors_index.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json.h"

namespace latent8 {
namespace {

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

SafetensorsIndex parse_safetensors_index(std::string_view json_text, const std::string& where) {
  const nlohmann::json object = parse_json(json_text, where);
  const JsonFields fields(object, where);
  SafetensorsIndex index;
  if (const nlohmann::json* metadata = fields.find("metadata")) {
    const JsonFields header(*metadata, where + ": metadata");
    if (header.has("total_size")) index.total_size = header.number("total_size");
  }
  const nlohmann::json* map = fields.find("weight_map");
  if (map == nullptr || !map->is_object()) fields.refuse("weight_map", "an object");
  const JsonFields files(*map, where + ": weight_map");
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>()))
      files.refuse(name.c_str(), "a file name without folders");
    index.weight_map.emplace_back(name, file.get<std::string>());
  }
  return index;
}

std::string safetensors_index_json(std::int64_t total_size,
                                   const std::vector<std::pair<std::string, std::string>>& weight_map,
                                   int indent) {
  const std::string one(static_cast<std::size_t>(indent), ' '), two = one + one;
  std::string text = fmt::format(
      "{{\n{0}\"metadata\": {{\n{1}\"total_size\": {2}\n{0}}},\n{0}\"weight_map\": {{", one, two, total_size);
  bool first = true;
  for (const auto& [name, file] : weight_map) {
    text += (first ? "\n" : ",\n") + two + json_quote(name) + ": " + json_quote(file);
    first = false;
  }
  return text + (first ? "}\n}" : "\n" + one + "}\n}");
}

}  // namespace latent8
