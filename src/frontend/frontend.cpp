#include "frontend/frontend.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "formats/checkpoint.h"

namespace latent8 {

// The sink of a TextStream that lets others wait for the end.
struct TextAnswer::State : TextSink {
  State(Engine& the_engine, TextSink& to) : engine(&the_engine), sink(&to) {}

  void on_prompt_token(const SampledToken& token) noexcept override { sink->on_prompt_token(token); }
  void on_token(const SampledToken& token) noexcept override { sink->on_token(token); }
  void on_text(std::string_view delta, bool is_reasoning) noexcept override {
    sink->on_text(delta, is_reasoning);
  }
  void on_finish(const TextFinish& finish) noexcept override {
    sink->on_finish(finish);
    const std::lock_guard lock(mutex);
    finished = true;
    done.notify_all();
  }

  Engine* engine;
  TextSink* sink;
  std::optional<TextStream> stream;
  RequestId id = 0;
  std::mutex mutex;
  std::condition_variable done;
  bool finished = false;  // guarded by mutex
};

TextAnswer::TextAnswer(std::unique_ptr<State> state) : state_(std::move(state)) {}
TextAnswer::TextAnswer(TextAnswer&&) noexcept = default;

TextAnswer::~TextAnswer() {
  if (state_ == nullptr) return;
  cancel();
  wait();
}

void TextAnswer::cancel() {
  if (!wait_for(0.0)) state_->engine->cancel(state_->id);
}

void TextAnswer::wait() {
  std::unique_lock lock(state_->mutex);
  state_->done.wait(lock, [this] { return state_->finished; });
}

bool TextAnswer::wait_for(double time_s) {
  std::unique_lock lock(state_->mutex);
  return state_->done.wait_for(lock, std::chrono::duration<double>(time_s),
                               [this] { return state_->finished; });
}

Frontend Frontend::load(const std::filesystem::path& dir, const EngineOptions& options,
                        const ModelOptions& model_options) {
  return load(std::make_shared<const Checkpoint>(Checkpoint::open(dir)), options, model_options);
}

Frontend Frontend::load(std::shared_ptr<const Checkpoint> checkpoint, const EngineOptions& options,
                        const ModelOptions& model_options) {
  Tokenizer tokenizer = Tokenizer::load(checkpoint->dir());
  std::optional<ChatTemplate> chat_template = ChatTemplate::load(checkpoint->dir());
  Engine engine = Engine::load(std::move(checkpoint), options, model_options);
  return Frontend(std::move(tokenizer), std::move(chat_template), std::move(engine));
}

Frontend::Frontend(Tokenizer tokenizer, std::optional<ChatTemplate> chat_template, Engine engine)
    : tokenizer_(std::make_unique<const Tokenizer>(std::move(tokenizer))),
      chat_template_(std::move(chat_template)),
      engine_(std::make_unique<Engine>(std::move(engine))),
      most_prompt_tokens_(engine_->info().max_model_len - 1) {
  forms_ =
      std::make_unique<AnswerForms>(*tokenizer_, engine_->info().vocab_size, engine_->info().eos_token_ids);
  if (tokenizer_->vocab_size() > engine_->info().vocab_size)
    throw_error(ErrorCode::kCorrupt,
                "tokenizer.json: at most {} tokens expected (vocab_size of the model), got {}",
                engine_->info().vocab_size, tokenizer_->vocab_size());
}

const ChatTemplate& Frontend::chat_template() const {
  if (!chat_template_)
    throw_error(ErrorCode::kUnsupported,
                "the checkpoint has no chat template (chat_template.jinja, or chat_template in "
                "tokenizer_config.json); give the prompt as raw text");
  return *chat_template_;
}

// Tokenising takes seconds for some megabytes of white space.
void Frontend::check_length(std::string_view text) const {
  const std::int64_t least = tokenizer_->least_tokens(text.size());
  if (least > most_prompt_tokens_)
    throw_error(
        ErrorCode::kInvalidArgument,
        "prompt: at most {} tokens expected (context or latent cache with room for one of the answer), "
        "got {} bytes, which are at least {} tokens",
        most_prompt_tokens_, text.size(), least);
}

Prompt Frontend::rendered_prompt(std::string text) const {
  check_length(text);
  Prompt prompt;
  prompt.ids = tokenizer_->encode(text);
  prompt.opens_reasoning = ReasoningParser::prompt_opens(text);
  prompt.text = std::move(text);
  return prompt;
}

Prompt Frontend::chat_prompt(const nlohmann::ordered_json& messages,
                             const nlohmann::ordered_json& tools) const {
  return rendered_prompt(chat_template().render(messages, tools, true));
}

Prompt Frontend::chat_prompt(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                             const nlohmann::ordered_json& variables) const {
  return rendered_prompt(chat_template().render(messages, tools, true, variables));
}

Prompt Frontend::raw_prompt(std::string_view text) const {
  check_length(text);
  Prompt prompt;
  prompt.text = text;
  prompt.ids = tokenizer_->encode_prompt(text);
  prompt.opens_reasoning = ReasoningParser::prompt_opens(text);
  return prompt;
}

Prompt Frontend::token_prompt(std::vector<std::int32_t> ids) const {
  constexpr std::size_t kTail = 16;  // tokens, more than the open tag and white space behind it
  const std::span<const std::int32_t> tail = std::span(ids).last(std::min(ids.size(), kTail));
  Prompt prompt;
  prompt.opens_reasoning = ReasoningParser::prompt_opens(tokenizer_->decode(tail));
  prompt.ids = std::move(ids);
  return prompt;
}

Prompt Frontend::without_reasoning(Prompt prompt) const {
  if (!prompt.opens_reasoning) return prompt;
  return rendered_prompt(prompt.text + "\n" + ReasoningParser::Options{}.close_tag + "\n\n");
}

MaskFactory Frontend::masks(const AnswerForm& form, const Prompt& prompt) const {
  return forms_->masks(form, prompt.opens_reasoning);
}

TextOptions Frontend::text_options(const TextRequest& request) const {
  TextOptions options{.stop = request.stop,
                      .min_tokens = request.sampling.min_tokens,
                      .silent = request.sampling.stop_token_ids,
                      .split_reasoning = request.split_reasoning,
                      .starts_in_reasoning = request.prompt.opens_reasoning,
                      .keep_special = request.keep_special,
                      .tool_format = request.tool_format};
  if (!request.sampling.ignore_eos) {
    const std::vector<std::int32_t>& eos = engine_->info().eos_token_ids;
    options.silent.insert(options.silent.end(), eos.begin(), eos.end());
  }
  return options;
}

TextAnswer Frontend::start(TextRequest request, TextSink& sink) {
  auto state = std::make_unique<TextAnswer::State>(*engine_, sink);
  state->stream.emplace(*tokenizer_, text_options(request), *state);
  state->id = engine_->submit({.token_ids = std::move(request.prompt.ids),
                               .sampling = std::move(request.sampling),
                               .mask = request.make_mask ? request.make_mask() : nullptr,
                               .prompt_logprobs = request.prompt_logprobs,
                               .priority = request.priority},
                              *state->stream);
  return TextAnswer(std::move(state));
}

namespace {

// Collects an answer and passes it on.
class Collector : public TextSink {
 public:
  Collector(GeneratedText& out, TextSink* also) : out_(out), also_(also) {}
  void on_token(const SampledToken& token) noexcept override {
    out_.ids.push_back(token.id);
    if (also_ != nullptr) also_->on_token(token);
  }
  void on_text(std::string_view delta, bool is_reasoning) noexcept override {
    (is_reasoning ? out_.reasoning : out_.content) += delta;
    if (also_ != nullptr) also_->on_text(delta, is_reasoning);
  }
  void on_finish(const TextFinish& finish) noexcept override {
    out_.finish = finish;
    if (also_ != nullptr) also_->on_finish(finish);
  }

 private:
  GeneratedText& out_;
  TextSink* also_;
};

}  // namespace

GeneratedText Frontend::generate(TextRequest request, TextSink* also, const std::atomic<bool>* interrupted) {
  constexpr double kPoll_s = 0.02;
  GeneratedText out;
  Collector collector(out, also);
  TextAnswer answer = start(std::move(request), collector);
  if (interrupted != nullptr)
    while (!answer.wait_for(kPoll_s))
      if (interrupted->load()) answer.cancel();
  answer.wait();
  return out;
}

}  // namespace latent8
