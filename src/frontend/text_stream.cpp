#include "frontend/text_stream.h"

#include <algorithm>
#include <utility>

#include "text/tool_marks.h"

namespace latent8 {

TextStream::TextStream(const Tokenizer& tokenizer, TextOptions options, TextSink& sink)
    : tokenizer_(&tokenizer),
      detokenizer_(tokenizer, /*keep_special=*/true),  // has_text() chooses
      stops_(std::move(options.stop)),
      silent_(std::move(options.silent)),
      min_tokens_(options.min_tokens),
      keep_special_(options.keep_special),
      kept_(all_tool_marks(options.tool_format)),
      sink_(&sink) {
  ReasoningParser::Options tags{.starts_inside = options.starts_in_reasoning};
  // Some tokenizers mark these two as special, which they are not to a reader.
  kept_.insert(kept_.end(), {tags.open_tag, tags.close_tag});
  // Kimi's models go from reasoning to a call without a close tag.
  if (options.tool_format == ToolFormat::kKimiK2)
    tags.content_mark = tool_marks(options.tool_format).section_begin;
  if (options.split_reasoning) reasoning_.emplace(std::move(tags));
}

bool TextStream::on_token(const SampledToken& token) noexcept {
  sink_->on_token(token);
  ++tokens_;
  if (!has_text(token.id)) return true;
  const std::string text = detokenizer_.push(token.id);
  emit(tokens_ < min_tokens_ ? text : stops_.push(text));
  return !stops_.matched();
}

bool TextStream::has_text(std::int32_t id) const {
  if (std::find(silent_.begin(), silent_.end(), id) != silent_.end()) return false;
  if (keep_special_ || !tokenizer_->is_special(id)) return true;
  return std::find(kept_.begin(), kept_.end(), tokenizer_->token_bytes(id)) != kept_.end();
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
