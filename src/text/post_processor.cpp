#include "text/post_processor.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json.h"
#include "text/json_file.h"
#include "text/tokenizer_parts.h"

namespace latent8 {
namespace {

using SortedJson = nlohmann::json;

// ["<s>", 0]
std::int32_t pair_id(const JsonFields& fields, const char* key, const std::string& where) {
  const SortedJson* pair = fields.find(key);
  if (pair == nullptr || !pair->is_array() || pair->size() != 2) fields.refuse(key, "[token, id]");
  return checked_token_id((*pair)[1], where);
}

// What "single" says: special tokens around the sequence.
Affixes read_template(const JsonFields& fields, const std::string& where) {
  const SortedJson* single = fields.find("single");
  const SortedJson* tokens = fields.find("special_tokens");
  if (single == nullptr || !single->is_array()) fields.refuse("single", "an array");
  Affixes out;
  bool after_text = false;
  for (const SortedJson& piece : *single) {
    if (piece.is_object() && piece.contains("Sequence")) {
      if (after_text) fields.refuse("single", "one Sequence");
      after_text = true;
      continue;
    }
    if (!piece.is_object() || !piece.contains("SpecialToken"))
      fields.refuse("single", "objects with 'SpecialToken' or 'Sequence'");
    const std::string name = JsonFields(piece["SpecialToken"], where).text("id");
    if (tokens == nullptr || !tokens->is_object() || !tokens->contains(name))
      fields.refuse("special_tokens", "an entry for each token of 'single'");
    const JsonFields entry((*tokens)[name], where);
    const SortedJson* ids = entry.find("ids");
    if (ids == nullptr || !ids->is_array()) entry.refuse("ids", "an array of token ids");
    for (const SortedJson& id : *ids)
      (after_text ? out.suffix : out.prefix).push_back(checked_token_id(id, where));
  }
  if (!after_text) fields.refuse("single", "a Sequence");
  return out;
}

}  // namespace

Affixes read_post_processor(const SortedJson& json, const std::string& where) {
  if (json.is_null()) return {};
  const JsonFields fields(json, where + ": post_processor");
  const std::string type = fields.text("type");
  if (type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return read_template(fields, where + ": post_processor");
  if (type == "BertProcessing" || type == "RobertaProcessing")
    return {{pair_id(fields, "cls", where)}, {pair_id(fields, "sep", where)}};
  if (type != "Sequence")
    throw_error(ErrorCode::kUnsupported,
                "{}: post_processor {} is not supported (TemplateProcessing, ByteLevel, BertProcessing, "
                "RobertaProcessing and Sequence are)",
                where, shown_json(type));
  const SortedJson* inner = fields.find("processors");
  if (inner == nullptr || !inner->is_array()) fields.refuse("processors", "an array");
  Affixes out;
  for (const SortedJson& each : *inner) {
    const Affixes next = read_post_processor(each, where);
    out.prefix.insert(out.prefix.begin(), next.prefix.begin(), next.prefix.end());
    out.suffix.insert(out.suffix.end(), next.suffix.begin(), next.suffix.end());
  }
  return out;
}

}  // namespace latent8
