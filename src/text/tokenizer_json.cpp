// Reading and checking tokenizer.json.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json.h"
#include "text/byte_alphabet.h"
#include "text/json_file.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

using SortedJson = nlohmann::json;
using IdMap = std::unordered_map<std::string, std::int32_t>;

void check_model(const SortedJson& model, const std::string& where) {
  const JsonFields fields(model, where);
  fields.one_of("type", {"BPE"}, "BPE");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!fields.text(key, "").empty()) fields.refuse(key, "null");
  if (fields.number("dropout", 0.0) != 0.0) fields.refuse("dropout", "null");
}

std::int32_t id_of(const IdMap& vocab, const std::string& token, const std::string& where) {
  const auto found = vocab.find(token);
  if (found == vocab.end()) {
    throw_error(ErrorCode::kCorrupt, "{}: model.merges: token {} is not in model.vocab", where,
                shown_json(token));
  }
  return found->second;
}

Merge read_merge(const SortedJson& rule, std::int32_t rank, const IdMap& vocab, const std::string& where) {
  std::string left, right;
  if (rule.is_string()) {
    const auto text = rule.get<std::string>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      left = text.substr(0, space);
      right = text.substr(space + 1);
    }
  } else if (rule.is_array() && rule.size() == 2 && rule[0].is_string() && rule[1].is_string()) {
    left = rule[0].get<std::string>();
    right = rule[1].get<std::string>();
  }
  if (left.empty() || right.empty()) {
    throw_error(ErrorCode::kCorrupt, "{}: model.merges: 'a b' or ['a', 'b'] expected, got {}", where,
                shown_json(rule));
  }
  return {id_of(vocab, left, where), id_of(vocab, right, where), id_of(vocab, left + right, where), rank};
}

void read_vocab(const SortedJson& model, VocabularyFile& file, const std::string& where) {
  const JsonFields fields(model, where + ": model");
  const SortedJson* vocab = fields.find("vocab");
  if (vocab == nullptr || !vocab->is_object()) fields.refuse("vocab", "an object of tokens and ids");
  for (const auto& [token, value] : vocab->items()) {
    const std::int32_t id = checked_token_id(value, where + ": model.vocab: token " + shown_json(token));
    file.add_ordinary(id, token, where);
    file.tokens[static_cast<std::size_t>(id)].bytes =
        file.decoder.bytes(token, file.tokens[static_cast<std::size_t>(id)].is_byte);
  }
}

// With ByteLevel tokens begin as bytes, else as characters.
void read_symbols(const SortedJson& model, VocabularyFile& file, const std::string& where) {
  const JsonFields fields(model, where + ": model");
  file.model.byte_ids.fill(-1);
  const bool byte_level = file.pre_tokenizer.is_byte_level();
  const bool byte_fallback = fields.boolean("byte_fallback", false);
  for (const auto& [text, id] : file.ids) {
    const Token& token = file.tokens[static_cast<std::size_t>(id)];
    if (byte_level) {
      if (token.bytes.size() == 1) file.model.byte_ids[static_cast<unsigned char>(token.bytes[0])] = id;
      continue;
    }
    if (!text.empty() && utf8_front(text).length == text.size()) file.model.characters.emplace(text, id);
    if (byte_fallback && text.size() == 6 && text.starts_with("<0x") && text.ends_with(">"))
      for (unsigned byte = 0; byte < 256; ++byte)
        if (text == fmt::format("<0x{:02X}>", byte)) file.model.byte_ids[byte] = id;
  }
  if (!byte_level && file.model.characters.empty())
    throw_error(ErrorCode::kUnsupported, "{}: model.vocab has no token of a single character", where);
  const std::string unknown = fields.text("unk_token", "");
  if (!unknown.empty()) {
    const auto found = file.ids.find(unknown);
    if (found == file.ids.end()) fields.refuse("unk_token", "a token of model.vocab");
    file.model.unknown = found->second;
    file.model.fuse_unknown = fields.boolean("fuse_unk", false);
  }
  if (fields.boolean("ignore_merges", false)) {
    for (const auto& [text, id] : file.ids) {
      if (!byte_level)
        file.model.whole_words.emplace(text, id);
      else if (auto bytes = bytes_from_alphabet(text))
        file.model.whole_words.emplace(std::move(*bytes), id);
    }
  }
}

void read_merges(const SortedJson& model, VocabularyFile& file, const std::string& where) {
  const JsonFields fields(model, where + ": model");
  const SortedJson* merges = fields.find("merges");
  if (merges == nullptr || !merges->is_array()) fields.refuse("merges", "an array");
  file.model.merges.reserve(merges->size());
  for (const SortedJson& rule : *merges)
    file.model.merges.push_back(
        read_merge(rule, static_cast<std::int32_t>(file.model.merges.size()), file.ids, where));
}

}  // namespace

std::int32_t checked_token_id(const SortedJson& value, const std::string& where) {
  const bool is_small = value.is_number_integer() && !(value.is_number_unsigned() && value > kMaxTokenId);
  const std::int64_t id = is_small ? value.get<std::int64_t>() : -1;
  if (id < 0 || id > kMaxTokenId)
    throw_error(ErrorCode::kCorrupt, "{}: an id from 0 to {} expected, got {}", where, kMaxTokenId,
                shown_json(value));
  return static_cast<std::int32_t>(id);
}

AddedTokenEntry read_added_token(const SortedJson& entry, std::int32_t id, const std::string& where) {
  const JsonFields fields(entry, where + ": added token " + std::to_string(id));
  AddedTokenEntry out{{.id = id,
                       .content = fields.text("content"),
                       .special = fields.boolean("special", false),
                       .lstrip = fields.boolean("lstrip", false),
                       .rstrip = fields.boolean("rstrip", false),
                       .single_word = fields.boolean("single_word", false)},
                      false};
  // The library's own default: what is not special is looked for in normalised text.
  out.normalized = fields.boolean("normalized", !out.token.special);
  if (out.token.content.empty() || out.token.content.size() > kMaxTokenBytes)
    fields.refuse("content", fmt::format("a text of 1 to {} bytes", kMaxTokenBytes));
  return out;
}

void VocabularyFile::add_ordinary(std::int32_t id, const std::string& text, const std::string& where) {
  const auto at = static_cast<std::size_t>(id);
  if (at >= tokens.size()) tokens.resize(at + 1);
  if (!ids.emplace(text, id).second || tokens[at].kind != TokenKind::kNone)
    throw_error(ErrorCode::kCorrupt, "{}: token {}: its id {} belongs to another token too", where,
                shown_json(text), id);
  tokens[at].kind = TokenKind::kOrdinary;
}

VocabularyFile read_tokenizer_json(const std::filesystem::path& path) {
  const std::string where = path.string();
  const SortedJson json = read_json_file(path);
  const JsonFields fields(json, where);
  const auto part = [&](const char* key) {
    const SortedJson* found = fields.find(key);
    return found == nullptr ? SortedJson() : *found;
  };
  const SortedJson* model = fields.find("model");
  if (model == nullptr) fields.refuse("model", "a BPE model");
  check_model(*model, where + ": model");
  VocabularyFile file{.tokens = {},
                      .ids = {},
                      .added = {},
                      .normalizer = Normalizer(part("normalizer"), where),
                      .pre_tokenizer = PreTokenizer(part("pre_tokenizer"), where),
                      .model = {},
                      .decoder = TokenDecoder(part("decoder"), where),
                      .affixes = read_post_processor(part("post_processor"), where)};
  if (file.pre_tokenizer.is_byte_level() != file.decoder.is_byte_level)
    throw_error(ErrorCode::kUnsupported,
                "{}: pre_tokenizer and decoder: ByteLevel in both or in none expected, got it in the {} only",
                where, file.decoder.is_byte_level ? "decoder" : "pre_tokenizer");
  read_vocab(*model, file, where);
  read_symbols(*model, file, where);
  read_merges(*model, file, where);
  const SortedJson added = part("added_tokens");
  if (!added.is_null() && !added.is_array()) fields.refuse("added_tokens", "an array");
  for (const SortedJson& entry : added) {
    if (!entry.is_object() || !entry.contains("id"))
      throw_error(ErrorCode::kCorrupt, "{}: added_tokens: objects with 'id' expected, got {}", where,
                  shown_json(entry));
    file.added.push_back(
        read_added_token(entry, checked_token_id(entry["id"], where + ": added_tokens: 'id'"), where));
  }
  return file;
}

}  // namespace latent8
