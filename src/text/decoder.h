#pragma once
// The decoder of tokenizer.json: how the texts of tokens become one text.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace latent8 {

class TokenDecoder {
 public:
  // json: the value of "decoder": ByteLevel, Metaspace, or a Sequence of Replace, ByteFallback, Fuse and,
  // last, Strip. Throws: Error{kUnsupported | kCorrupt} naming `where` and the part that cannot be honoured.
  TokenDecoder(const nlohmann::json& json, const std::string& where);

  // Tokens are in the byte alphabet.
  bool is_byte_level = false;
  // Tokens like <0x0A> are bytes; a run of them that is not UTF-8 becomes one U+FFFD for each.
  bool byte_fallback = false;
  // So many spaces at the beginning of the whole text are dropped.
  std::size_t dropped_spaces = 0;
  // Every space of the first token is dropped (Metaspace).
  bool first_without_spaces = false;

  // The bytes that a token stands for, wherever it stands. is_byte: it is a byte of byte_fallback.
  std::string bytes(std::string_view token, bool& is_byte) const;

 private:
  void add(const nlohmann::json& part, const std::string& where);

  std::vector<std::pair<std::string, std::string>> replacements_;
  bool fused_ = false;
};

}  // namespace latent8
