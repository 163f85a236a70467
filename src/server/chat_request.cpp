#include "server/chat_request.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "server/chat_messages.h"
#include "server/generation.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kMaxTopLogprobs = 20;

Prompt make_prompt(Service& service, const Fields& body, const Json& tools) {
  Json messages = read_messages(body);
  const Frontend& frontend = service.frontend();
  const ChatTemplate& chat_template = frontend.chat_template();
  if (has_tool_calls(messages)) fit_arguments(messages, chat_template.reads_argument_text());
  return frontend.chat_prompt(messages, tools, read_variables(body, chat_template));
}

ToolOptions tool_options(const Service& service, const Fields& body, Json tools) {
  if (tools.is_null()) return {};
  ToolOptions options{.format = service.tool_format(),
                      .tools = std::make_shared<const Json>(std::move(tools)),
                      .parallel = body.boolean("parallel_tool_calls").value_or(true)};
  const ToolChoice choice = read_tool_choice(body, *options.tools);
  if (choice.mode == ToolChoice::Mode::kRequired || choice.mode == ToolChoice::Mode::kNamed)
    body.refuse("tool_choice", "\"auto\" or \"none\" (this server cannot enforce calls yet)");
  return options;
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
  request.tools = tool_options(service, body, std::move(tools));
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
                     .mask = nullptr},
                    request.fields.n);
  call.exchange().on_abort([generation] { generation->cancel(); });
}

}  // namespace latent8
