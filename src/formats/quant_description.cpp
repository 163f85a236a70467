#include "formats/quant_description.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "formats/files.h"
#include "formats/json.h"

namespace latent8 {
namespace {

constexpr std::string_view kStem = "quant_model_description";

bool parse_quant_type(std::string_view text, QuantType& out) {
  for (const QuantType type :
       {QuantType::kFloat, QuantType::kW8A8, QuantType::kW8A8Dynamic, QuantType::kFAQuant})
    if (text == to_string(type)) return out = type, true;
  return false;
}

// The layer of "model.layers.N.self_attn.fa_...", or -1.
std::int64_t fa_layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "model.layers.", kSuffix = ".self_attn.fa_";
  if (name.substr(0, kPrefix.size()) != kPrefix) return -1;
  name.remove_prefix(kPrefix.size());
  std::int64_t layer = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc{}) return -1;
  name.remove_prefix(static_cast<std::size_t>(end - name.data()));
  return name.substr(0, kSuffix.size()) == kSuffix ? layer : -1;
}

[[noreturn]] void refuse(const std::string& where, const FlatJsonMember& member, std::string_view expected) {
  throw_error(ErrorCode::kUnsupported, "{}: '{}': {} expected, got '{}'", where, member.key, expected,
              member.kind == FlatJsonMember::Kind::kNested ? "a list or an object" : member.value);
}

// True if the member is a key of the header and not a tensor.
bool read_header_key(const FlatJsonMember& member, const std::string& where, QuantDescription& out) {
  using Kind = FlatJsonMember::Kind;
  const std::string& key = member.key;
  const bool text = member.kind == Kind::kString;
  if (key == "model_quant_type" || key == "version") {
    if (!text) refuse(where, member, "a string");
    (key == "version" ? out.version : out.model_quant_type) = member.value;
    return true;
  }
  if (key == "fa_quant_type") {
    if (member.kind == Kind::kNull) return true;
    if (!text || (member.value != "FAQuant" && member.value != "FAKQuant" && !member.value.empty()))
      refuse(where, member, "'FAQuant' or 'FAKQuant'");
    out.fa_quant_type = member.value;
    return true;
  }
  if (key == "kv_cache_type" || key == "kv_quant_type") {
    if (member.kind != Kind::kNull) refuse(where, member, "null (latent8 has the FA3 cache only)");
    return true;
  }
  // group_size belongs to types that are refused by name; the others do not change what a tensor means.
  return key == "group_size" || key == "reduce_quant_type" || key == "metadata" || key == "optional";
}

std::filesystem::path choose_file(const std::filesystem::path& dir, std::string_view quantize) {
  const std::string plain = std::string(kStem) + ".json";
  const std::string marked = fmt::format("{}_{}.json", kStem, quantize);
  std::vector<std::string> names;
  for (const std::string& name : list_folder(dir))
    if (name.starts_with(kStem) && name.ends_with(".json")) names.push_back(name);
  for (const std::string& wanted : {plain, marked})
    if (std::find(names.begin(), names.end(), wanted) != names.end()) return dir / wanted;
  if (names.size() > 1)
    throw_error(ErrorCode::kInvalidArgument, "{}: one {}*.json expected, got {}; keep the right one",
                dir.string(), kStem, fmt::join(names, ", "));
  return names.empty() ? std::filesystem::path() : dir / names.front();
}

}  // namespace

std::string_view to_string(QuantType type) {
  switch (type) {
    case QuantType::kFloat:
      return "FLOAT";
    case QuantType::kW8A8:
      return "W8A8";
    case QuantType::kW8A8Dynamic:
      return "W8A8_DYNAMIC";
    case QuantType::kFAQuant:
      break;
  }
  return "FAQuant";
}

bool QuantDescription::add(std::string name, QuantType type) {
  if (!types_.emplace(name, type).second) return false;
  if (const std::int64_t layer = fa_layer_of(name); layer >= 0) fa_layers_.insert(layer);
  entries_.emplace_back(std::move(name), type);
  return true;
}

std::optional<QuantType> QuantDescription::type_of(std::string_view name) const {
  const auto it = types_.find(name);
  return it == types_.end() ? std::nullopt : std::optional(it->second);
}

std::string QuantDescription::to_json() const {
  std::string text = "{";
  const auto add = [&text](std::string_view key, std::string_view value) {
    text += text.size() == 1 ? "\n    " : ",\n    ";
    text += json_quote(key) + ": " + json_quote(value);
  };
  if (!version.empty()) add("version", version);
  add("model_quant_type", model_quant_type);
  if (!fa_quant_type.empty()) add("fa_quant_type", fa_quant_type);
  for (const auto& [name, type] : entries_) add(name, to_string(type));
  return text + "\n}";
}

QuantDescription parse_quant_description(std::string_view json_text, const std::string& where) {
  QuantDescription description;
  for (FlatJsonMember& member : parse_flat_json(json_text, where)) {
    if (read_header_key(member, where, description)) continue;
    const bool text = member.kind == FlatJsonMember::Kind::kString;
    if (member.key.ends_with(".quant_type")) {  // of a layer, not of a tensor
      if (!text || member.value != "INT8") refuse(where, member, "'INT8'");
      continue;
    }
    QuantType type = QuantType::kFloat;
    if (!text || !parse_quant_type(member.value, type))
      refuse(where, member, "one of 'FLOAT', 'W8A8', 'W8A8_DYNAMIC', 'FAQuant'");
    description.add(std::move(member.key), type);
  }
  if (description.model_quant_type.empty())
    throw_error(ErrorCode::kCorrupt, "{}: 'model_quant_type' expected, got nothing", where);
  return description;
}

std::optional<QuantDescription> read_quant_description(const std::filesystem::path& dir,
                                                       std::string_view quantize) {
  const std::filesystem::path path = choose_file(dir, quantize);
  if (path.empty()) return std::nullopt;
  QuantDescription description = parse_quant_description(read_text_file(path), path.string());
  description.file_name = path.filename().string();
  return description;
}

}  // namespace latent8
