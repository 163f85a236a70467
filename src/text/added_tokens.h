#pragma once
// Tokens that are recognised in text before it is split: control tokens and other additions to a vocabulary.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/split_regex.h"

namespace latent8 {

struct AddedToken {
  std::int32_t id;
  std::string content;
  bool special;
  bool lstrip;       // takes the white space before it
  bool rstrip;       // takes the white space after it
  bool single_word;  // not where a character of a word touches it
};

// One stretch of text: an added token (id >= 0) or ordinary text (id -1).
struct TextSegment {
  std::int32_t id;
  TextRange range;
};

// Finds a set of added tokens, the leftmost first, of several at one place the longest.
// Thread-safety: immutable after construction.
class AddedTokenMatcher {
 public:
  // REQUIRES: no token is without content. Of two with the same content the last counts.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // Appends the segments of text.substr(range) to segments, in order and without gaps.
  void split(std::string_view text, TextRange range, std::vector<TextSegment>& segments) const;

 private:
  struct Node {
    std::vector<std::pair<char, std::int32_t>> children;  // sorted by byte
    std::int32_t token = -1;                              // index into tokens_
  };

  std::int32_t child(std::int32_t node, char byte) const;
  // The longest token that text starts with; nullptr if none.
  const AddedToken* longest(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
};

}  // namespace latent8
