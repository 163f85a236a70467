#include "text/incremental_detokenizer.h"

#include <utility>

#include "text/utf8.h"

namespace latent8 {

std::string IncrementalDetokenizer::push(std::int32_t id) {
  if (!keep_special_ && tokenizer_->is_special(id)) return "";
  pending_ += tokenizer_->token_bytes(id);
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

std::string IncrementalDetokenizer::finish() {
  std::string text;
  append_lossy_utf8(text, std::exchange(pending_, ""));
  return text;
}

}  // namespace latent8
