#pragma once
// What a tokenizer directory holds, read and checked. Used by the files of the tokenizer only.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace latent8 {

enum class TokenKind : std::uint8_t { kNone, kOrdinary, kAdded, kSpecial };

struct Token {
  std::string bytes;  // raw
  TokenKind kind = TokenKind::kNone;
  bool is_byte = false;  // one of byte_fallback's
};

struct AddedTokenEntry {
  AddedToken token;
  bool normalized;  // matches normalised text
};

// What tokenizer.json or tiktoken.model says.
struct VocabularyFile {
  std::vector<Token> tokens;                          // [vocab_size] by id; without the added ones
  std::unordered_map<std::string, std::int32_t> ids;  // of ordinary tokens by their text in the file
  std::vector<AddedTokenEntry> added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  TokenDecoder decoder;
  Affixes affixes;
  bool is_tiktoken = false;

  // Throws: Error{kCorrupt} naming `where` if the id has another token.
  void add_ordinary(std::int32_t id, const std::string& text, const std::string& where);
};

constexpr std::int64_t kMaxTokenId = (1 << 22) - 1;  // sixteen times the largest vocabulary in use
// Of an added token, which is looked for at every place of a text, and of a token of tiktoken.model, of which
// every cut is looked at. The longest in use have 128.
constexpr std::size_t kMaxTokenBytes = 1024;

// Throws: Error{kCorrupt} naming `where`.
std::int32_t checked_token_id(const nlohmann::json& value, const std::string& where);
// An entry of added_tokens or added_tokens_decoder.
AddedTokenEntry read_added_token(const nlohmann::json& entry, std::int32_t id, const std::string& where);

// Throws as Tokenizer::load.
VocabularyFile read_tokenizer_json(const std::filesystem::path& path);
// config: tokenizer_config.json, which names the special tokens; null: absent.
VocabularyFile read_tiktoken_model(const std::filesystem::path& path, const nlohmann::json& config);
// The pieces into which the tokenization code of tiktoken.model's checkpoints cuts long text before anything
// else: 400,000 characters, and runs of 25,000 with or without white space.
// Source: tokenization_kimi.py of Kimi-K2 and Moonlight (_split_whitespaces_or_nonwhitespaces).
std::vector<TextRange> tiktoken_chunks(std::string_view text);

struct Tokenizer::Parts {
  std::vector<Token> tokens;                          // [vocab_size] by id
  std::unordered_map<std::string, std::int32_t> ids;  // by raw bytes
  AddedTokenMatcher added;                            // tokens that match the text as written
  AddedTokenMatcher added_normalized;                 // tokens that match normalised text
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  TokenDecoder decoder;
  Affixes affixes;
  bool is_tiktoken = false;
  std::size_t longest_token = 0;  // bytes of text that one token stands for at most; 0: any number
  std::optional<std::int32_t> bos_id;
  std::optional<std::int32_t> eos_id;

  bool has_token(std::int32_t id) const {
    return id >= 0 && static_cast<std::size_t>(id) < tokens.size() &&
           tokens[static_cast<std::size_t>(id)].kind != TokenKind::kNone;
  }
};

}  // namespace latent8
