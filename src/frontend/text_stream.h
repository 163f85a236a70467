#pragma once
// The tokens of one answer on their way to text.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "latent8/request.h"
#include "text/incremental_detokenizer.h"
#include "text/reasoning_parser.h"
#include "text/stop_strings.h"
#include "text/tokenizer.h"
#include "text/tool_format.h"

namespace latent8 {

struct TextFinish {
  FinishReason reason = FinishReason::kStop;
  Usage usage;
  std::string message;                     // of kError
  std::optional<std::string> stop_string;  // the one that ended the answer

  double ttft_s() const { return usage.queue_s + usage.prefill_s; }
  // Tokens per second; 0 where no time was measured.
  double prefill_rate() const { return rate(usage.prompt_tokens, usage.prefill_s); }
  double decode_rate() const { return rate(usage.completion_tokens - 1, usage.decode_s); }

 private:
  static double rate(std::int64_t tokens, double time_s) {
    return tokens > 0 && time_s > 0.0 ? static_cast<double>(tokens) / time_s : 0.0;
  }
};

// Who takes an answer as text. Called on the engine thread: must not block and must not throw.
class TextSink {
 public:
  virtual ~TextSink() = default;
  // As TokenSink has it.
  virtual void on_prompt_token(const SampledToken& /*token*/) noexcept {}
  // Every token of the answer, before the text that it completes.
  virtual void on_token(const SampledToken& /*token*/) noexcept {}
  // More text, always whole characters and never empty.
  virtual void on_text(std::string_view delta, bool is_reasoning) noexcept = 0;
  virtual void on_finish(const TextFinish& finish) noexcept = 0;
};

// How an answer becomes text.
struct TextOptions {
  std::vector<std::string> stop;     // the answer ends before the first of them
  std::int64_t min_tokens = 0;       // which ends behind so many tokens
  std::vector<std::int32_t> silent;  // tokens without text: those that end the answer
  bool split_reasoning = false;      // <think> ... </think> goes to on_text as reasoning, without the tags
  bool starts_in_reasoning = false;  // the prompt ended inside <think>
  bool keep_special = false;         // special tokens have text; <think> and </think> always have
  ToolFormat tool_format = ToolFormat::kNone;  // whose marks have text too
};

// Detokenises, looks for stop strings, parts reasoning from content. Engine thread only.
// Ownership: refers to tokenizer and sink, which must outlive it.
class TextStream : public TokenSink {
 public:
  // Throws: Error{kInvalidArgument} for an empty stop string.
  TextStream(const Tokenizer& tokenizer, TextOptions options, TextSink& sink);

  void on_prompt_token(const SampledToken& token) noexcept override { sink_->on_prompt_token(token); }
  bool on_token(const SampledToken& token) noexcept override;
  void on_finish(const Finish& finish) noexcept override;
  // Whether text that comes now would be reasoning.
  bool in_reasoning() const { return reasoning_ && reasoning_->inside(); }

 private:
  bool has_text(std::int32_t id) const;
  void emit(std::string_view text);
  void emit(const ReasoningDelta& delta);

  const Tokenizer* tokenizer_;
  IncrementalDetokenizer detokenizer_;
  StopStrings stops_;
  std::optional<ReasoningParser> reasoning_;
  std::vector<std::int32_t> silent_;
  std::int64_t tokens_ = 0, min_tokens_;
  bool keep_special_;
  std::vector<std::string> kept_;  // special tokens that have text all the same
  TextSink* sink_;
};

}  // namespace latent8
