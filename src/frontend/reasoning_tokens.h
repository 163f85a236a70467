#pragma once
// The reasoning of an answer, followed token by token.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace latent8 {

// Where in its reasoning an answer has got to. Plain data, so that steps can be taken back.
struct ReasoningState {
  enum class Phase : std::uint8_t {
    kStart,  // nothing but white space so far; the open tag may come
    kInside,
    kClosed,  // behind the close tag, where newlines are not part of the content
    kContent,
  };
  Phase phase = Phase::kStart;
  std::uint8_t matched = 0;  // characters of the tag that have come
  std::uint8_t forced = 0;   // tokens of the close tag that have come one after the other
  std::int32_t tokens = 0;   // inside, those of the tags not counted
};

// The tags of ReasoningParser in a tokenizer's tokens; the states agree with what the parser makes of the
// text. Thread-safety: immutable.
class ReasoningTokens {
 public:
  explicit ReasoningTokens(const Tokenizer& tokenizer);

  // After one more token.
  ReasoningState next(ReasoningState state, std::int32_t token) const;

  // The tokens that write the close tag; can_close(): there are such.
  std::span<const std::int32_t> close() const { return close_; }
  bool can_close() const { return can_close_; }
  // Tokens that, where `matched` characters of the close tag have come, end it and go on with content.
  std::span<const std::int32_t> spilling(std::uint8_t matched) const { return spilling_[matched]; }
  std::span<const std::int32_t> newlines() const { return newlines_; }  // tokens of newlines alone
  bool is_newlines(std::int32_t token) const;

 private:
  std::string_view text(std::int32_t token) const;

  const Tokenizer* tokenizer_;
  std::string open_tag_, close_tag_;
  std::vector<std::int32_t> close_, newlines_;
  bool can_close_;
  std::vector<std::vector<std::int32_t>> spilling_;
};

}  // namespace latent8
