// Reading and checking tokenizer.json and tokenizer_config.json.

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/json_file.h"
#include "text/tokenizer_parts.h"

namespace latent8 {
namespace {

using Json = nlohmann::json;
using IdMap = std::unordered_map<std::string, std::int32_t>;

constexpr std::int64_t kMaxId = (1 << 24) - 1;  // forty times the largest vocabulary in use

std::int32_t checked_id(const Json& value, std::string_view token, const std::string& where) {
  const std::int64_t id = value.is_number_integer() ? value.get<std::int64_t>() : -1;
  if (id < 0 || id > kMaxId) {
    throw_error(ErrorCode::kCorrupt, "{}: token '{}': an id from 0 to {} expected, got {}", where, token,
                kMaxId, value.dump());
  }
  return static_cast<std::int32_t>(id);
}

// Everything that would change the text before it is split.
void refuse_normalizer(const Json& file, const std::string& where) {
  const Json normalizer = file.value("normalizer", Json());
  if (normalizer.is_null()) return;
  const auto type = normalizer.at("type").get<std::string>();
  if (type == "Sequence" && normalizer.at("normalizers").empty()) return;
  throw_error(ErrorCode::kUnsupported,
              "{}: normalizer '{}' is not supported (none, or an empty Sequence, is): {}", where, type,
              normalizer.dump());
}

void check_decoder(const Json& file, const std::string& where) {
  const Json decoder = file.value("decoder", Json());
  if (decoder.is_object() && decoder.at("type") == "ByteLevel") return;
  throw_error(ErrorCode::kUnsupported, "{}: decoder ByteLevel expected, got {}", where, decoder.dump());
}

void check_model(const Json& model, const std::string& where) {
  if (model.at("type") != "BPE") {
    throw_error(ErrorCode::kUnsupported, "{}: model type BPE expected, got {}", where,
                model.at("type").dump());
  }
  for (const char* key : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json value = model.value(key, Json());
    if (!value.is_null() && value != "") {
      throw_error(ErrorCode::kUnsupported, "{}: model.{} = {} is not supported (null is)", where, key,
                  value.dump());
    }
  }
  if (model.value("byte_fallback", false)) {
    throw_error(ErrorCode::kUnsupported, "{}: model.byte_fallback = true is not supported", where);
  }
}

std::int32_t id_of(const IdMap& vocab, const std::string& token, const std::string& where) {
  const auto found = vocab.find(token);
  if (found == vocab.end()) {
    throw_error(ErrorCode::kCorrupt, "{}: model.merges: token '{}' is not in model.vocab", where, token);
  }
  return found->second;
}

Merge read_merge(const Json& rule, const IdMap& vocab, const std::string& where) {
  std::string left, right;
  if (rule.is_string()) {
    const auto text = rule.get<std::string>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      left = text.substr(0, space);
      right = text.substr(space + 1);
    }
  } else if (rule.is_array() && rule.size() == 2) {
    left = rule[0].get<std::string>();
    right = rule[1].get<std::string>();
  }
  if (left.empty() || right.empty()) {
    throw_error(ErrorCode::kCorrupt, "{}: model.merges: 'a b' or ['a', 'b'] expected, got {}", where,
                rule.dump());
  }
  return {id_of(vocab, left, where), id_of(vocab, right, where), id_of(vocab, left + right, where)};
}

class Reader {
 public:
  Reader(const Json& file, std::string where) : file_(file), where_(std::move(where)) {}

  void read_vocab() {
    for (const auto& [token, value] : file_.at("model").at("vocab").items()) {
      const std::int32_t id = checked_id(value, token, where_);
      if (!vocab_.emplace(token, id).second || slot(id).kind != TokenKind::kNone) {
        throw_error(ErrorCode::kCorrupt, "{}: token '{}': its id {} belongs to '{}' too", where_, token, id,
                    slot(id).bytes);
      }
      slot(id) = {bytes_from_alphabet(token).value_or(token), TokenKind::kOrdinary};
    }
  }

  void read_added_tokens() {
    for (const Json& entry : file_.value("added_tokens", Json::array())) {
      AddedToken token{0, entry.at("content").get<std::string>(), entry.value("special", false),
                       entry.value("lstrip", false), entry.value("rstrip", false)};
      token.id = checked_id(entry.at("id"), token.content, where_);
      if (token.content.empty()) {
        throw_error(ErrorCode::kCorrupt, "{}: added token {} has no content", where_, token.id);
      }
      if (entry.value("single_word", false)) {
        throw_error(ErrorCode::kUnsupported, "{}: added token '{}': single_word = true is not supported",
                    where_, token.content);
      }
      const auto known = vocab_.find(token.content);
      if (known == vocab_.end() ? slot(token.id).kind != TokenKind::kNone : known->second != token.id) {
        throw_error(ErrorCode::kCorrupt, "{}: added token '{}': its id {} disagrees with model.vocab", where_,
                    token.content, token.id);
      }
      slot(token.id) = {token.content, token.special ? TokenKind::kSpecial : TokenKind::kAdded};
      (entry.value("normalized", false) ? added_normalized_ : added_).push_back(std::move(token));
    }
  }

  std::vector<std::int32_t> byte_ids() const {
    std::vector<std::int32_t> ids(256, -1);
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      if (tokens_[id].kind != TokenKind::kOrdinary || tokens_[id].bytes.size() != 1) continue;
      ids[static_cast<unsigned char>(tokens_[id].bytes[0])] = static_cast<std::int32_t>(id);
    }
    for (std::size_t byte = 0; byte < ids.size(); ++byte) {
      if (ids[byte] >= 0) continue;
      throw_error(ErrorCode::kUnsupported, "{}: model.vocab has no token for byte 0x{:02x}", where_, byte);
    }
    return ids;
  }

  Bpe bpe() const {
    const Json& model = file_.at("model");
    std::vector<Merge> merges;
    merges.reserve(model.at("merges").size());
    for (const Json& rule : model.at("merges")) merges.push_back(read_merge(rule, vocab_, where_));
    IdMap whole_words;
    if (model.value("ignore_merges", false)) {
      for (const auto& [token, id] : vocab_) {
        if (auto bytes = bytes_from_alphabet(token)) whole_words.emplace(std::move(*bytes), id);
      }
    }
    return Bpe(byte_ids(), merges, std::move(whole_words));
  }

  IdMap ids() const {
    IdMap ids;
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      if (tokens_[id].kind != TokenKind::kNone) ids.emplace(tokens_[id].bytes, static_cast<std::int32_t>(id));
    }
    return ids;
  }

  Token& slot(std::int32_t id) {
    if (static_cast<std::size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<std::size_t>(id) + 1);
    return tokens_[id];
  }

  const Json& file_;
  std::string where_;
  IdMap vocab_;  // by the text in the file
  std::vector<Token> tokens_;
  std::vector<AddedToken> added_;
  std::vector<AddedToken> added_normalized_;
};

std::optional<std::int32_t> named_token(const Json& config, const std::string& key, const IdMap& ids,
                                        const std::string& where) {
  const std::string text = token_text(config, key, where);
  if (text.empty()) return std::nullopt;
  const auto found = ids.find(text);
  if (found == ids.end()) {
    throw_error(ErrorCode::kCorrupt, "{}: '{}' names '{}', which is not a token of tokenizer.json", where,
                key, text);
  }
  return found->second;
}

bool truth(const Json& config, const std::string& key, bool fallback, const std::string& where) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return fallback;
  if (!found->is_boolean())
    throw_error(ErrorCode::kCorrupt, "{}: '{}': true or false expected, got {}", where, key, found->dump());
  return found->get<bool>();
}

}  // namespace

std::unique_ptr<const Tokenizer::Parts> Tokenizer::read_parts(const std::filesystem::path& dir) {
  const std::filesystem::path path = dir / "tokenizer.json";
  const std::string where = path.string();
  const Json file = read_json_file(path);
  std::unique_ptr<Parts> parts;
  try {
    refuse_normalizer(file, where);
    check_decoder(file, where);
    check_model(file.at("model"), where);
    Reader reader(file, where);
    reader.read_vocab();
    Bpe bpe = reader.bpe();
    reader.read_added_tokens();
    IdMap ids = reader.ids();
    parts.reset(new Parts{
        std::move(reader.tokens_), std::move(ids), AddedTokenMatcher(std::move(reader.added_)),
        AddedTokenMatcher(std::move(reader.added_normalized_)), PreTokenizer(file.at("pre_tokenizer"), where),
        std::move(bpe), std::nullopt, std::nullopt, false});
  } catch (const Json::exception& error) {
    throw_error(ErrorCode::kCorrupt, "{}: not a tokenizer: {}", where, error.what());
  }
  const std::filesystem::path config_path = dir / "tokenizer_config.json";
  if (std::filesystem::exists(config_path)) {
    const Json config = read_json_file(config_path);
    parts->bos_id = named_token(config, "bos_token", parts->ids, config_path.string());
    parts->eos_id = named_token(config, "eos_token", parts->ids, config_path.string());
    parts->adds_bos = parts->bos_id && truth(config, "add_bos_token", true, config_path.string());
  }
  return parts;
}

}  // namespace latent8
