#pragma once
// The pre_tokenizer of tokenizer.json: where text is cut before byte-pair merging.

#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/split_regex.h"

namespace latent8 {

// Thread-safety: immutable after construction.
class PreTokenizer {
 public:
  // json: the value of "pre_tokenizer": ByteLevel, or a Sequence of Split, Digits and, last, ByteLevel.
  // Throws: Error{kUnsupported | kCorrupt} naming `where` and the part that cannot be honoured.
  PreTokenizer(const nlohmann::json& json, std::string_view where);

  // Appends the pieces of text, in order and without gaps, to pieces.
  // REQUIRES: text is UTF-8.
  void split(std::string_view text, SplitRegex::Matcher& matcher, std::vector<TextRange>& pieces) const;

 private:
  void add(const nlohmann::json& part, bool last, std::string_view where);

  std::vector<SplitRegex> stages_;  // each cuts out its matches from the pieces of the one before
};

}  // namespace latent8
