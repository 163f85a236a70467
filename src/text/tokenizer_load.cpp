// A tokenizer directory: which of its files says what.

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/files.h"
#include "formats/json.h"
#include "text/json_file.h"
#include "text/tokenizer_parts.h"

namespace latent8 {
namespace {

using SortedJson = nlohmann::json;
using IdMap = std::unordered_map<std::string, std::int32_t>;

// The keys of tokenizer_config.json that name special tokens, by transformers' SPECIAL_TOKENS_ATTRIBUTES.
constexpr std::array<const char*, 7> kNamedTokens = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                     "pad_token", "cls_token", "mask_token"};

SortedJson read_if_there(const std::filesystem::path& path) {
  if (!is_named(path)) return nullptr;
  SortedJson json = read_json_file(path);
  if (!json.is_object())
    throw_error(ErrorCode::kCorrupt, "{}: a JSON object expected, got {}", path.string(), json.type_name());
  return json;
}

VocabularyFile read_vocabulary(const std::filesystem::path& dir, const SortedJson& config) {
  if (is_named(dir / "tokenizer.json")) return read_tokenizer_json(dir / "tokenizer.json");
  if (is_named(dir / "tiktoken.model")) return read_tiktoken_model(dir / "tiktoken.model", config);
  for (const std::string& name : list_folder(dir)) {
    const bool other = name == "tokenizer.model" || name == "tekken.json" || name == "vocab.json" ||
                       name.ends_with(".tiktoken") || name == "spiece.model";
    if (!other) continue;
    throw_error(ErrorCode::kUnsupported,
                "{}: tokenizer.json or tiktoken.model expected, got {}, which is not read; take the "
                "tokenizer.json of "
                "the model's publishers, or make one of it in Python: "
                "transformers.AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
                dir.string(), name);
  }
  throw_error(ErrorCode::kNotFound,
              "{}: no tokenizer: tokenizer.json or tiktoken.model expected beside the weights; take it from "
              "the model's publishers",
              dir.string());
}

// added_tokens_decoder beside tokenizer.json: its entries add to the file's, and say again how a token
// matches.
void merge_added_tokens(const SortedJson& config, VocabularyFile& file, const std::string& where) {
  if (!config.is_object() || !config.contains("added_tokens_decoder") || file.is_tiktoken) return;
  const SortedJson& entries = config["added_tokens_decoder"];
  if (entries.is_null()) return;
  if (!entries.is_object())
    throw_error(ErrorCode::kCorrupt, "{}: 'added_tokens_decoder': an object expected, got {}", where,
                entries.type_name());
  std::unordered_map<std::string, std::size_t> known;
  for (std::size_t i = 0; i < file.added.size(); ++i) known.emplace(file.added[i].token.content, i);
  for (const auto& [key, value] : entries.items()) {
    const SortedJson number = SortedJson::parse(key, nullptr, false);
    AddedTokenEntry entry =
        read_added_token(value, checked_token_id(number, where + ": 'added_tokens_decoder'"), where);
    const auto found = known.find(entry.token.content);
    if (found == known.end()) {
      file.added.push_back(std::move(entry));
      continue;
    }
    entry.token.id = file.added[found->second].token.id;
    file.added[found->second] = std::move(entry);
  }
}

// What tokenizer_config.json names is special, whatever the lists say.
void mark_named_tokens(const SortedJson& config, VocabularyFile& file, const std::string& where) {
  std::vector<std::string> names;
  for (const char* key : kNamedTokens) names.push_back(token_text(config, key, where));
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    const auto list = config.find(key);
    if (list == config.end() || !list->is_array()) continue;
    for (const SortedJson& entry : *list)
      names.push_back(token_text(SortedJson{{"token", entry}}, "token", where));
  }
  std::sort(names.begin(), names.end());
  for (AddedTokenEntry& entry : file.added)
    if (std::binary_search(names.begin(), names.end(), entry.token.content)) entry.token.special = true;
}

std::string normalized_content(const AddedTokenEntry& entry, const Normalizer& normalizer) {
  if (!entry.normalized || normalizer.changes_nothing()) return entry.token.content;
  SplitRegex::Matcher matcher;
  return normalizer.apply(entry.token.content, matcher);
}

void place_added_tokens(VocabularyFile& file, const std::string& where) {
  for (const AddedTokenEntry& entry : file.added) {
    const auto at = static_cast<std::size_t>(entry.token.id);
    if (at >= file.tokens.size()) file.tokens.resize(at + 1);
    const auto known = file.is_tiktoken ? file.ids.end() : file.ids.find(entry.token.content);
    Token& token = file.tokens[at];
    const bool is_taken =
        known == file.ids.end() ? token.kind == TokenKind::kOrdinary : known->second != entry.token.id;
    if (is_taken)
      throw_error(ErrorCode::kCorrupt, "{}: added token {}: its id {} disagrees with the vocabulary", where,
                  shown_json(entry.token.content), entry.token.id);
    // A token that matches normalised text is that text to the library, when it decodes too.
    const std::string text = normalized_content(entry, file.normalizer);
    token.bytes = file.is_tiktoken ? text : file.decoder.bytes(text, token.is_byte);
    token.kind = entry.token.special ? TokenKind::kSpecial : TokenKind::kAdded;
  }
}

IdMap ids_by_text(const VocabularyFile& file) {
  IdMap ids;
  for (const AddedTokenEntry& entry : file.added) ids.emplace(entry.token.content, entry.token.id);
  for (std::size_t id = 0; id < file.tokens.size(); ++id)
    if (file.tokens[id].kind == TokenKind::kOrdinary)
      ids.emplace(file.tokens[id].bytes, static_cast<std::int32_t>(id));
  return ids;
}

std::optional<std::int32_t> named_token(const SortedJson& config, const std::string& key, const IdMap& ids,
                                        const std::string& where) {
  const std::string text = token_text(config, key, where);
  if (text.empty()) return std::nullopt;
  const auto found = ids.find(text);
  if (found == ids.end()) {
    throw_error(ErrorCode::kCorrupt, "{}: '{}' names {}, which is not a token of the tokenizer", where, key,
                shown_json(text));
  }
  return found->second;
}

// The tokenizer classes whose code builds the affixes from add_bos_token and add_eos_token, both ways.
bool is_llama_class(const SortedJson& config, const std::string& where) {
  std::string name = JsonFields(config, where).text("tokenizer_class", "");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name == "LlamaTokenizer" || name == "CodeLlamaTokenizer";
}

// Without add_bos_token the post_processor alone says what stands around a text, as in transformers 4 and 5.
// With it: true always adds BOS; what is false takes BOS away, and add_eos_token is heard, only for classes
// whose code of transformers 4 did so (5 reads neither where there is a tokenizer.json, and then prompts of
// DeepSeek's own base models lack the BOS that they were trained with).
void apply_add_flags(const SortedJson& config, Tokenizer::Parts& parts, const std::string& where) {
  const JsonFields fields(config, where);
  const bool is_llama = is_llama_class(config, where);
  std::vector<std::int32_t>& prefix = parts.affixes.prefix;
  std::vector<std::int32_t>& suffix = parts.affixes.suffix;
  if (fields.has("add_bos_token") && parts.bos_id) {
    const auto bos = std::find(prefix.begin(), prefix.end(), *parts.bos_id);
    if (fields.boolean("add_bos_token")) {
      if (bos == prefix.end()) prefix.insert(prefix.begin(), *parts.bos_id);
    } else if (is_llama && bos != prefix.end()) {
      prefix.erase(bos);
    }
  }
  if (fields.has("add_eos_token") && parts.eos_id && is_llama) {
    const auto eos = std::find(suffix.begin(), suffix.end(), *parts.eos_id);
    const bool adds = fields.boolean("add_eos_token");
    if (adds && eos == suffix.end()) suffix.push_back(*parts.eos_id);
    if (!adds && eos != suffix.end()) suffix.erase(eos);
  }
}

}  // namespace

std::unique_ptr<const Tokenizer::Parts> Tokenizer::read_parts(const std::filesystem::path& dir) {
  const std::string where = (dir / "tokenizer_config.json").string();
  SortedJson config = read_if_there(dir / "tokenizer_config.json");
  VocabularyFile file = read_vocabulary(dir, config);
  // special_tokens_map.json is older: it counts where the configuration does not list the added tokens.
  if (const SortedJson map = read_if_there(dir / "special_tokens_map.json");
      map.is_object() && !(config.is_object() && config.contains("added_tokens_decoder"))) {
    if (config.is_null()) config = SortedJson::object();
    for (const auto& [key, value] : map.items())
      if (!value.is_null()) config[key] = value;
  }
  merge_added_tokens(config, file, where);
  if (config.is_object()) mark_named_tokens(config, file, where);
  place_added_tokens(file, dir.string());

  IdMap ids = ids_by_text(file);
  std::vector<AddedToken> added, added_normalized;
  for (AddedTokenEntry& entry : file.added) {
    entry.token.content = normalized_content(entry, file.normalizer);
    (entry.normalized ? added_normalized : added).push_back(std::move(entry.token));
  }
  auto parts = std::make_unique<Parts>(
      Parts{std::move(file.tokens), std::move(ids), AddedTokenMatcher(std::move(added)),
            AddedTokenMatcher(std::move(added_normalized)), std::move(file.normalizer),
            std::move(file.pre_tokenizer), Bpe(std::move(file.model)), std::move(file.decoder),
            std::move(file.affixes), file.is_tiktoken, std::nullopt, std::nullopt});
  const auto size = static_cast<std::int32_t>(parts->tokens.size());
  for (const auto* affix : {&parts->affixes.prefix, &parts->affixes.suffix})
    for (const std::int32_t id : *affix)
      if (id >= size)
        throw_error(ErrorCode::kCorrupt, "{}: post_processor: ids below {} expected, got {}", dir.string(),
                    size, id);
  if (config.is_object()) {
    parts->bos_id = named_token(config, "bos_token", parts->ids, where);
    parts->eos_id = named_token(config, "eos_token", parts->ids, where);
    apply_add_flags(config, *parts, where);
  }
  return parts;
}

}  // namespace latent8
