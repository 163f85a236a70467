#include "frontend/text_stream.h"

#include <algorithm>
#include <utility>

namespace latent8 {

TextStream::TextStream(const Tokenizer& tokenizer, TextOptions options, TextSink& sink)
    : detokenizer_(tokenizer, options.keep_special),
      stops_(std::move(options.stop)),
      silent_(std::move(options.silent)),
      sink_(&sink) {
  if (options.split_reasoning)
    reasoning_.emplace(ReasoningParser::Options{.starts_inside = options.starts_in_reasoning});
}

bool TextStream::on_token(const SampledToken& token) noexcept {
  sink_->on_token(token);
  if (std::find(silent_.begin(), silent_.end(), token.id) != silent_.end()) return true;
  emit(stops_.push(detokenizer_.push(token.id)));
  return !stops_.matched();
}

void TextStream::on_finish(const Finish& finish) noexcept {
  emit(stops_.push(detokenizer_.finish()));
  emit(stops_.finish());
  if (reasoning_) emit(reasoning_->finish());
  sink_->on_finish({.reason = finish.reason,
                    .usage = finish.usage,
                    .message = finish.message,
                    .stop_string = stops_.matched()});
}

void TextStream::emit(std::string_view text) {
  if (text.empty()) return;
  if (reasoning_) {
    emit(reasoning_->push(text));
  } else {
    sink_->on_text(text, false);
  }
}

void TextStream::emit(const ReasoningDelta& delta) {
  if (!delta.reasoning.empty()) sink_->on_text(delta.reasoning, true);
  if (!delta.content.empty()) sink_->on_text(delta.content, false);
}

}  // namespace latent8
