#include "frontend/reasoning_tokens.h"

#include <algorithm>

#include "text/reasoning_parser.h"
#include "text/white_space.h"

namespace latent8 {
namespace {

using Phase = ReasoningState::Phase;

bool is_all(std::string_view text, std::string_view characters) {
  return text.find_first_not_of(characters) == std::string_view::npos;
}

// Characters of the tag that have come after one more. A tag's first character is nowhere else in it.
std::uint8_t match(std::string_view tag, std::uint8_t matched, char c) {
  if (c == tag[matched]) return static_cast<std::uint8_t>(matched + 1);
  return c == tag[0] ? 1 : 0;
}

}  // namespace

ReasoningTokens::ReasoningTokens(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {
  const ReasoningParser::Options tags;
  open_tag_ = tags.open_tag;
  close_tag_ = tags.close_tag;
  close_ = tokenizer.encode(close_tag_);
  std::string written;
  for (const std::int32_t id : close_) written += text(id);
  can_close_ = written == close_tag_;
  spilling_.resize(close_tag_.size());
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view bytes = text(id);
    if (is_newlines(id)) newlines_.push_back(id);
    if (bytes.find('>') == std::string_view::npos) continue;
    for (std::uint8_t matched = 0; matched < close_tag_.size(); ++matched) {
      ReasoningState state{.phase = Phase::kInside, .matched = matched};
      if (next(state, id).phase == Phase::kContent) spilling_[matched].push_back(id);
    }
  }
}

// As TextStream shows it.
std::string_view ReasoningTokens::text(std::int32_t token) const {
  const std::string_view bytes = tokenizer_->token_bytes(token);
  return !tokenizer_->is_special(token) || bytes == open_tag_ || bytes == close_tag_ ? bytes : "";
}

bool ReasoningTokens::is_newlines(std::int32_t token) const {
  const std::string_view bytes = text(token);
  return !bytes.empty() && is_all(bytes, "\n");
}

ReasoningState ReasoningTokens::next(ReasoningState state, std::int32_t token) const {
  const bool began_inside = state.phase == Phase::kInside;
  for (const char c : text(token)) {
    switch (state.phase) {
      case Phase::kStart:
        if (state.matched == 0 && kSpace.find(c) != std::string_view::npos) break;
        if (c != open_tag_[state.matched]) {
          state.phase = Phase::kContent;
        } else if (++state.matched == open_tag_.size()) {
          state.phase = Phase::kInside;
          state.matched = 0;
        }
        break;
      case Phase::kInside:
        state.matched = match(close_tag_, state.matched, c);
        if (state.matched == close_tag_.size()) state.phase = Phase::kClosed;
        break;
      case Phase::kClosed:
        if (c != '\n') state.phase = Phase::kContent;
        break;
      case Phase::kContent:
        return state;
    }
  }
  if (began_inside) {
    const bool next_of_tag = state.forced < close_.size() && token == close_[state.forced];
    state.forced = next_of_tag ? static_cast<std::uint8_t>(state.forced + 1) : (token == close_[0] ? 1 : 0);
    ++state.tokens;
  }
  return state;
}

}  // namespace latent8
