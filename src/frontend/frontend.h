#pragma once
// Text in, text out: tokenizer, chat template and engine of one checkpoint.

#include <atomic>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/answer_form.h"
#include "frontend/text_stream.h"
#include "latent8/engine.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace latent8 {

// What a model reads before it answers.
struct Prompt {
  std::string text;
  std::vector<std::int32_t> ids;
  bool opens_reasoning = false;  // the answer begins inside <think>
};

struct TextRequest {
  Prompt prompt;
  SamplingParams sampling;
  std::vector<std::string> stop;
  bool split_reasoning = true;
  bool keep_special = false;
  ToolFormat tool_format = ToolFormat::kNone;  // whose marks have text
  MaskFactory make_mask;                       // empty: every token may come
  std::int32_t prompt_logprobs = -1;           // as Request has it
  std::int32_t priority = 0;
};

struct GeneratedText {
  std::vector<std::int32_t> ids;
  std::string reasoning;
  std::string content;
  TextFinish finish;
};

class Frontend;

// An answer under way. Thread-safety: all methods may be called from any thread but the engine's.
// Ownership: the destructor cancels the answer and waits for its end.
class TextAnswer {
 public:
  ~TextAnswer();
  TextAnswer(TextAnswer&&) noexcept;
  TextAnswer& operator=(TextAnswer&&) = delete;

  void cancel();  // nothing happens if it has ended
  void wait();
  [[nodiscard]] bool wait_for(double time_s);  // whether it has ended

 private:
  friend class Frontend;
  struct State;
  explicit TextAnswer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Thread-safety: all methods may be called from many threads.
class Frontend {
 public:
  // Throws: as Engine::load, Tokenizer::load and ChatTemplate::load; Error{kCorrupt} if the tokenizer has
  // ids that the model does not know.
  static Frontend load(const std::filesystem::path& checkpoint_dir, const EngineOptions& options = {},
                       const ModelOptions& model_options = {});
  // The same for a checkpoint that is open. shared: see Engine::load.
  static Frontend load(std::shared_ptr<const Checkpoint> checkpoint, const EngineOptions& options = {},
                       const ModelOptions& model_options = {});
  Frontend(Tokenizer tokenizer, std::optional<ChatTemplate> chat_template, Engine engine);

  // messages, tools, variables (extra) as ChatTemplate::render; special tokens are recognised in the text
  // that it makes. Throws: Error{kUnsupported} if the checkpoint has no chat template, and as
  // ChatTemplate::render.
  Prompt chat_prompt(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools) const;
  Prompt chat_prompt(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                     const nlohmann::ordered_json& variables) const;
  // The text as it is, with BOS in front where the tokenizer adds it and the text does not begin with it.
  // Throws: Error{kInvalidArgument} naming the byte offset where text is not UTF-8.
  Prompt raw_prompt(std::string_view text) const;
  Prompt token_prompt(std::vector<std::int32_t> ids) const;
  // From now on texts that are longer than any that the context holds are tokenised all the same: somebody
  // cuts them. They are refused otherwise before that, with Error{kInvalidArgument}.
  void accept_long_prompts() { most_prompt_tokens_ = std::numeric_limits<std::int64_t>::max(); }
  // The prompt with its reasoning, if it opens one, closed without a word.
  Prompt without_reasoning(Prompt prompt) const;

  // Masks for answers of this form to the prompt. Throws: as AnswerForms::masks.
  MaskFactory masks(const AnswerForm& form, const Prompt& prompt) const;

  // How the answer to a request becomes text.
  TextOptions text_options(const TextRequest& request) const;
  // The sink must live until its on_finish. Throws: as Engine::submit.
  [[nodiscard]] TextAnswer start(TextRequest request, TextSink& sink);
  // Waits for the whole answer.
  //   also         is told everything as it comes; may be nullptr
  //   interrupted  cancels the answer when it becomes true (a signal handler may set it); may be nullptr
  // Throws: as Engine::submit. An answer that ends with kError is returned, not thrown.
  GeneratedText generate(TextRequest request, TextSink* also = nullptr,
                         const std::atomic<bool>* interrupted = nullptr);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  bool has_chat_template() const { return chat_template_.has_value(); }
  // Throws: Error{kUnsupported} if the checkpoint has none.
  const ChatTemplate& chat_template() const;
  Engine& engine() { return *engine_; }

 private:
  Prompt rendered_prompt(std::string text) const;
  void check_length(std::string_view text) const;

  // Each in one place: answers under way refer to them.
  std::unique_ptr<const Tokenizer> tokenizer_;
  std::optional<ChatTemplate> chat_template_;
  std::unique_ptr<AnswerForms> forms_;
  std::unique_ptr<Engine> engine_;
  std::int64_t most_prompt_tokens_ = 0;
};

}  // namespace latent8
