#include "text/incremental_detokenizer.h"

#include <utility>

#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace latent8 {

std::string IncrementalDetokenizer::push(std::int32_t id) {
  if (!keep_special_ && tokenizer_->is_special(id)) return "";
  const Tokenizer::Parts& parts = *tokenizer_->parts_;
  if (!parts.has_token(id)) return "";
  const Token& token = parts.tokens[static_cast<std::size_t>(id)];
  const bool is_first = std::exchange(at_first_token_, false);
  if (parts.decoder.is_byte_level) {
    pending_ += token.bytes;
    std::string text;
    std::string_view rest = pending_;
    while (!rest.empty()) {
      const Utf8Step step = utf8_front(rest);
      if (step.kind == Utf8Front::kIncomplete) break;
      if (step.kind == Utf8Front::kCharacter) {
        text += rest.substr(0, step.length);
      } else {
        append_utf8(text, 0xFFFD);
      }
      rest.remove_prefix(step.length);
    }
    pending_ = std::string(rest);
    return text;
  }
  if (token.is_byte) {
    pending_ += token.bytes;
    return "";
  }
  std::string text = token.bytes;
  if (is_first && parts.decoder.first_without_spaces) std::erase(text, ' ');
  return begun(end_run() + text);
}

std::string IncrementalDetokenizer::end_run() {
  std::string run = std::exchange(pending_, "");
  if (!first_invalid_utf8(run)) return run;
  std::string text;
  for (std::size_t i = 0; i < run.size(); ++i) append_utf8(text, 0xFFFD);
  return text;
}

std::string IncrementalDetokenizer::begun(std::string text) {
  if (!dropping_) return text;
  const std::size_t most = tokenizer_->parts_->decoder.dropped_spaces;
  std::size_t at = 0;
  while (at < text.size() && text[at] == ' ' && spaces_dropped_ < most) {
    ++at;
    ++spaces_dropped_;
  }
  dropping_ = at == text.size() && spaces_dropped_ < most;
  return text.substr(at);
}

std::string IncrementalDetokenizer::finish() {
  std::string text;
  if (tokenizer_->parts_->decoder.is_byte_level) {
    append_lossy_utf8(text, pending_);
  } else {
    text = begun(end_run());
  }
  *this = IncrementalDetokenizer(*tokenizer_, keep_special_);
  return text;
}

}  // namespace latent8
