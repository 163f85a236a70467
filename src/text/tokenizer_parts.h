#pragma once
// What a tokenizer directory holds, read and checked. Used by tokenizer.cpp and tokenizer_load.cpp only.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace latent8 {

enum class TokenKind : std::uint8_t { kNone, kOrdinary, kAdded, kSpecial };

struct Token {
  std::string bytes;  // raw
  TokenKind kind = TokenKind::kNone;
};

struct Tokenizer::Parts {
  std::vector<Token> tokens;                          // [vocab_size] by id
  std::unordered_map<std::string, std::int32_t> ids;  // by raw bytes
  AddedTokenMatcher added;                            // tokens that match the text as written
  AddedTokenMatcher added_normalized;                 // tokens that match normalised text
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  std::optional<std::int32_t> bos_id;
  std::optional<std::int32_t> eos_id;
  bool adds_bos = false;
};

}  // namespace latent8
