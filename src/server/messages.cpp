// POST /v1/messages, POST /v1/messages/count_tokens

#include "server/messages.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "formats/nested_json.h"
#include "server/api_error.h"
#include "server/fields.h"
#include "server/reply_parts.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;
using Kind = AnswerBlock::Kind;

// A call's arguments as the object that Anthropic's clients read. What is no object is wrapped in the way
// that Anthropic's documentation of streamed tool use advises.
Json input_of(const AnswerBlock& call) {
  std::optional<Json> input = try_nested_json(call.text, kMaxBodyDepth);
  if (input && input->is_object()) return *std::move(input);
  return {{"INVALID_JSON", call.text}};
}

class MessageReply final : public ChatReply {
 public:
  MessageReply(const Call& call, const ChatRequest& request)
      : call_(call),
        stream_(request.fields.stream),
        prompt_tokens_(static_cast<std::int64_t>(request.prompt.ids.size())) {}

 private:
  void on_start() override {
    if (!stream_) return;
    call_.begin_events();
    send({{"type", "message_start"}, {"message", message(Json::array(), {.prompt = prompt_tokens_})}});
    send({{"type", "ping"}});
  }
  void on_block_begin(std::size_t, const AnswerBlock& block) override {
    if (!stream_) return;
    AnswerBlock empty = block;
    empty.text = block.kind == Kind::kToolCall ? "{}" : "";
    send({{"type", "content_block_start"},
          {"index", block.index},
          {"content_block", block_json(empty, /*signature=*/"")}});
  }
  void on_delta(std::size_t, const AnswerBlock& block, std::string_view delta) override {
    if (!stream_) return;
    switch (block.kind) {
      case Kind::kReasoning:
        return send_delta(block, {{"type", "thinking_delta"}, {"thinking", delta}});
      case Kind::kText:
        return send_delta(block, {{"type", "text_delta"}, {"text", delta}});
      case Kind::kToolCall:
        return send_delta(block, {{"type", "input_json_delta"}, {"partial_json", delta}});
    }
  }
  void on_block_end(std::size_t, const AnswerBlock& block) override {
    if (!stream_) return;
    if (block.kind == Kind::kReasoning) send_delta(block, {{"type", "signature_delta"}, {"signature", id_}});
    send({{"type", "content_block_stop"}, {"index", block.index}});
  }
  void on_end(ChatResult result) override {
    const ApiError failure{.status = 500, .message = result.failure, .param = "", .code = ""};
    const ChatAnswer& answer = result.answers.front();
    if (!stream_)
      return result.failure.empty() ? call_.reply(whole(answer, result.usage)) : call_.refuse(failure);
    if (!result.failure.empty()) {
      send(Json::parse(anthropic_json(failure)));
    } else {
      send({{"type", "message_delta"}, {"delta", stop_json(answer)}, {"usage", usage_json(result.usage)}});
      send({{"type", "message_stop"}});
    }
    call_.end_events(/*done_mark=*/false);
  }

  void send(const Json& event) const { call_.event(event["type"].get<std::string>(), event); }
  void send_delta(const AnswerBlock& block, Json delta) const {
    send({{"type", "content_block_delta"}, {"index", block.index}, {"delta", std::move(delta)}});
  }

  // signature: of reasoning. Clients hand it back and look no further; it proves nothing.
  static Json block_json(const AnswerBlock& block, const std::string& signature) {
    switch (block.kind) {
      case Kind::kReasoning:
        return {{"type", "thinking"}, {"thinking", block.text}, {"signature", signature}};
      case Kind::kText:
        return {{"type", "text"}, {"text", block.text}};
      case Kind::kToolCall:
        return {{"type", "tool_use"}, {"id", block.id}, {"name", block.name}, {"input", input_of(block)}};
    }
    return nullptr;
  }

  static Json stop_json(const ChatAnswer& answer) {
    const char* reason = answer.reason == FinishReason::kLength ? "max_tokens"
                         : answer.stop_string                   ? "stop_sequence"
                         : answer.has_calls()                   ? "tool_use"
                                                                : "end_turn";
    return {{"stop_reason", reason},
            {"stop_sequence", answer.stop_string ? Json(*answer.stop_string) : Json()}};
  }

  static Json usage_json(const UsageCount& usage) {
    return {{"input_tokens", usage.prompt - usage.cached},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", usage.cached},
            {"output_tokens", usage.completion}};
  }

  Json message(Json content, const UsageCount& usage) const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", call_.service().options().model_names.front()},
            {"content", std::move(content)},
            {"stop_reason", nullptr},
            {"stop_sequence", nullptr},
            {"usage", usage_json(usage)}};
  }

  Json whole(const ChatAnswer& answer, const UsageCount& usage) const {
    Json content = Json::array();
    for (const AnswerBlock& block : answer.blocks) content.push_back(block_json(block, id_));
    Json json = message(std::move(content), usage);
    json.update(stop_json(answer));
    return json;
  }

  Call call_;
  bool stream_;
  std::int64_t prompt_tokens_;
  std::string id_ = new_id("msg_");
};

}  // namespace

std::unique_ptr<ChatReply> make_message_reply(const Call& call, const ChatRequest& request) {
  return std::make_unique<MessageReply>(call, request);
}

void messages(const Call& call) {
  const Json json = parse_body(call.request().body);
  call.service().admit(json);
  const Fields body(json);
  if (!body.integer("max_tokens", 1)) body.refuse("max_tokens", "a whole number of 1 or more");
  ChatRequest request = read_chat_request(call.service(), chat_body_of_messages(body));
  auto reply = make_message_reply(call, request);
  answer_chat(call, std::move(request), std::move(reply));
}

void count_message_tokens(const Call& call) {
  const Json json = parse_body(call.request().body);
  const Json chat = chat_body_of_messages(Fields(json));
  call.reply(Json{{"input_tokens", chat_prompt(call.service(), Fields(chat)).ids.size()}});
}

}  // namespace latent8
