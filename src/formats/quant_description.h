#pragma once
// quant_model_description*.json: which tensor is stored in which form. Format: docs/format.md,
// "Description".

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace latent8 {

enum class QuantType {
  kFloat,        // "FLOAT"
  kW8A8,         // "W8A8": int8 weight, static activation scale
  kW8A8Dynamic,  // "W8A8_DYNAMIC": int8 weight, activation scale per token
  kFAQuant       // "FAQuant": a scale or offset of the int8 latent cache
};
std::string_view to_string(QuantType type);

// The description of a checkpoint, in the order of its file. The dialects differ in `version` (only ascendv1
// has it), in the spelling of fa_quant_type and in the file's name.
class QuantDescription {
 public:
  std::string model_quant_type;  // "W8A8_DYNAMIC", ...; informative: the entries decide
  std::string fa_quant_type;     // "FAQuant" or "FAKQuant"; "" without int8 cache
  std::string version;           // "1.0.0"; "" in the mindie dialect
  std::string file_name;         // where it was read from, without the folder

  // Appends an entry. Returns false if `name` is there already.
  bool add(std::string name, QuantType type);
  std::optional<QuantType> type_of(std::string_view name) const;
  const std::vector<std::pair<std::string, QuantType>>& entries() const { return entries_; }
  // Whether any fa_* tensor of the layer is listed, which makes its cache int8.
  bool lists_fa_tensors(std::int64_t layer) const { return fa_layers_.count(layer) != 0; }

  // The file's text as the reference writes it: header keys that are not empty, then the entries; indented by
  // 4, ASCII, no final newline.
  std::string to_json() const;

 private:
  std::vector<std::pair<std::string, QuantType>> entries_;
  std::map<std::string, QuantType, std::less<>> types_;
  std::set<std::int64_t> fa_layers_;
};

// Throws: Error{kCorrupt}, and {kUnsupported} naming a tensor whose type latent8 does not run.
QuantDescription parse_quant_description(std::string_view json_text, const std::string& where);

// The description of a checkpoint folder: quant_model_description.json, else
// quant_model_description_{quantize}.json (`quantize` of config.json), else the only other
// quant_model_description*.json. None: std::nullopt.
// Throws: Error{kInvalidArgument} if the choice is not clear, and as parse_quant_description.
std::optional<QuantDescription> read_quant_description(const std::filesystem::path& dir,
                                                       std::string_view quantize = "");

}  // namespace latent8
