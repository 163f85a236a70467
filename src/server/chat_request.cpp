#include "server/chat_request.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "latent8/error.h"
#include "server/chat_messages.h"
#include "server/generation.h"
#include "server/tool_grammar.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kMaxTopLogprobs = 20;

Prompt make_prompt(Service& service, const Fields& body, const Json& tools) {
  Json messages = read_messages(body);
  const Frontend& frontend = service.frontend();
  const ChatTemplate& chat_template = frontend.chat_template();
  if (has_tool_calls(messages)) fit_arguments(messages, chat_template.reads_argument_text());
  Prompt prompt = frontend.chat_prompt(messages, tools, read_variables(body, chat_template));
  return reasons_not(body) ? frontend.without_reasoning(std::move(prompt)) : prompt;
}

ToolOptions tool_options(const Service& service, const Fields& body, Json tools) {
  if (tools.is_null()) return {};
  return {.format = service.tool_format(),
          .tools = std::make_shared<const Json>(std::move(tools)),
          .parallel = body.boolean("parallel_tool_calls").value_or(true)};
}

bool has_strict_tool(const Json& tools) {
  return std::any_of(tools.begin(), tools.end(), [](const Json& tool) {
    return tool["function"].contains("strict") && tool["function"]["strict"] == true;
  });
}

// Masks of the calls that the choice allows. Parameters that no grammar can do are any objects, unless a tool
// asks for "strict".
MaskFactory tool_masks(const Frontend& frontend, const ChatRequest& request, const ToolChoice& choice) {
  const auto masks = [&](ToolArgumentsForm arguments) {
    AnswerForm form = request.fields.format.form;
    if (auto grammar = tool_grammar(request.tools, choice, arguments, form.grammar)) form.grammar = grammar;
    return frontend.masks(form, request.prompt);
  };
  try {
    return masks(ToolArgumentsForm::kSchemas);
  } catch (const Error&) {
    if (request.fields.format.form.grammar || has_strict_tool(*request.tools.tools)) throw;
    return masks(ToolArgumentsForm::kAnyObjects);
  }
}

MaskFactory chat_masks(const Frontend& frontend, const Fields& body, const ChatRequest& request) {
  const AnswerFormat& format = request.fields.format;
  const bool of_tools = format.grammar_field.empty() && request.tools.tools != nullptr;
  const std::string field = of_tools ? "tools" : format.grammar_field;
  return with_field(field, [&] {
    if (request.tools.tools == nullptr) return frontend.masks(format.form, request.prompt);
    const ToolChoice choice = read_tool_choice(body, *request.tools.tools);
    const bool forced = choice.mode == ToolChoice::Mode::kRequired || choice.mode == ToolChoice::Mode::kNamed;
    if (forced && request.tools.format == ToolFormat::kNone)
      body.refuse("tool_choice", "\"auto\" or \"none\" (the model's chat template has no form for calls)");
    return tool_masks(frontend, request, choice);
  });
}

// The answers to a chat request, told to its reply.
class ChatGeneration final : public Generation {
 public:
  ChatGeneration(const Call& call, std::unique_ptr<ChatReply> reply, std::size_t n, const ToolOptions& tools)
      : Generation(call.service()), call_(call), reply_(std::move(reply)), events_(*reply_, n, tools) {}

 private:
  void on_start() override { reply_->on_start(); }
  void on_token(std::size_t choice, const AnsweredToken& token, bool is_reasoning) override {
    events_.on_token(choice, token, is_reasoning);
  }
  void on_text(std::size_t choice, std::string_view delta, bool is_reasoning) override {
    events_.on_text(choice, delta, is_reasoning);
  }
  void on_finish(std::size_t choice, const TextFinish& finish) override {
    call_.service().metrics().observe_answer(finish);
    events_.on_finish(choice, finish);
  }
  void on_end() override { events_.on_end(); }

  Call call_;
  std::unique_ptr<ChatReply> reply_;
  ChatEvents events_;
};

}  // namespace

Prompt chat_prompt(Service& service, const Fields& body) {
  return make_prompt(service, body, read_tools(body));
}

ChatRequest read_chat_request(Service& service, const Json& json) {
  const Fields body(json);
  ChatRequest request;
  request.fields = read_answer_fields(body, service.options());
  request.logprobs = body.boolean("logprobs").value_or(false);
  const std::int64_t top = body.integer("top_logprobs", 0, kMaxTopLogprobs).value_or(0);
  if (request.fields.prompt_logprobs >= 0)
    body.refuse("prompt_logprobs", "nothing in chats: /v1/completions has them");
  if (top > 0 && !request.logprobs) body.refuse("top_logprobs", "'logprobs': true beside it");
  if (request.logprobs) request.fields.sampling.logprobs = static_cast<std::int32_t>(top);
  Json tools = read_tools(body);
  request.prompt = make_prompt(service, body, tools);
  service.admit_answers(1, request.fields.n);
  service.limit(request.prompt, request.fields.sampling);
  service.frontend().engine().check(  // before a grammar is compiled
      {.token_ids = request.prompt.ids, .sampling = request.fields.sampling, .mask = nullptr});
  request.tools = tool_options(service, body, std::move(tools));
  request.make_mask = chat_masks(service.frontend(), body, request);
  return request;
}

void answer_chat(const Call& call, ChatRequest request, std::unique_ptr<ChatReply> reply) {
  const auto generation = std::make_shared<ChatGeneration>(
      call, std::move(reply), static_cast<std::size_t>(request.fields.n), request.tools);
  generation->start({.prompt = std::move(request.prompt),
                     .sampling = std::move(request.fields.sampling),
                     .stop = std::move(request.fields.stop),
                     .keep_special = request.fields.keep_special,
                     .tool_format = request.tools.format,
                     .make_mask = std::move(request.make_mask)},
                    request.fields.n);
  call.exchange().on_abort([generation] { generation->cancel(); });
}

}  // namespace latent8
