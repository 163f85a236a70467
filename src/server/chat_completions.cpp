// POST /v1/chat/completions

#include "server/chat_completions.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "server/api_error.h"
#include "server/reply_parts.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;
using Kind = AnswerBlock::Kind;

// A call that begins, or a whole one.
Json call_json(const AnswerBlock& call, std::string_view arguments) {
  return {
      {"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", arguments}}}};
}

// Both forms of the reply: the whole of it, or events as they come.
class ChatCompletion final : public ChatReply {
 public:
  ChatCompletion(const Call& call, const ChatRequest& request)
      : call_(call),
        stream_(request.fields.stream),
        include_usage_(request.fields.include_usage),
        logprobs_(request.logprobs),
        untold_(static_cast<std::size_t>(request.fields.n), Json::array()) {}

 private:
  void on_start() override {
    if (!stream_) return;
    call_.begin_events();
    for (std::size_t i = 0; i < untold_.size(); ++i)
      send(i, {{"role", "assistant"}, {"content", ""}}, nullptr);
  }
  void on_token(std::size_t choice, const AnsweredToken& token) override {
    if (logprobs_) untold_[choice].push_back(chat_logprob(call_.service().frontend().tokenizer(), token));
  }
  void on_block_begin(std::size_t choice, const AnswerBlock& block) override {
    if (!stream_ || block.kind != Kind::kToolCall) return;
    Json call = {{"index", block.call}};
    call.update(call_json(block, ""));
    send(choice, {{"tool_calls", Json::array({std::move(call)})}}, nullptr);
  }
  void on_delta(std::size_t choice, const AnswerBlock& block, std::string_view delta) override {
    if (!stream_) return;
    switch (block.kind) {
      case Kind::kReasoning:
        return send(choice, {{"reasoning_content", delta}, {"reasoning", delta}}, nullptr);
      case Kind::kText:
        return send(choice, {{"content", delta}}, nullptr);
      case Kind::kToolCall: {
        const Json call = {{"index", block.call}, {"function", {{"arguments", delta}}}};
        return send(choice, {{"tool_calls", Json::array({call})}}, nullptr);
      }
    }
  }
  void on_finish(std::size_t choice, const ChatAnswer& answer) override {
    if (stream_) send(choice, Json::object(), reason(answer));
  }
  void on_end(ChatResult result) override {
    const ApiError failure{.status = 500, .message = result.failure, .param = "", .code = ""};
    if (stream_) {
      if (!result.failure.empty()) call_.event(Json::parse(to_json(failure)));
      if (include_usage_ && result.failure.empty()) send_usage(result.usage);
      call_.end_events(/*done_mark=*/true);
    } else if (!result.failure.empty()) {
      call_.refuse(failure);
    } else {
      call_.reply(whole(result));
    }
  }

  static Json reason(const ChatAnswer& answer) {
    return answer.reason == FinishReason::kStop && answer.has_calls() ? "tool_calls"
                                                                      : finish_reason(answer.reason);
  }

  Json frame(const char* object) const {
    return {{"id", id_},
            {"object", object},
            {"created", created_},
            {"model", call_.service().options().model_names.front()}};
  }

  void send(std::size_t choice, Json delta, const Json& reason) {
    Json json = frame("chat.completion.chunk");
    json["choices"] = Json::array({{{"index", choice},
                                    {"delta", std::move(delta)},
                                    {"logprobs", take_logprobs(choice)},
                                    {"finish_reason", reason}}});
    if (include_usage_) json["usage"] = nullptr;
    call_.event(json);  // if nobody reads, Exchange::on_abort() ends the answers
  }
  void send_usage(const UsageCount& usage) {
    Json json = frame("chat.completion.chunk");
    json["choices"] = Json::array();
    json["usage"] = to_json(usage);
    call_.event(json);
  }

  Json take_logprobs(std::size_t choice) {
    if (untold_[choice].empty()) return nullptr;
    return {{"content", std::exchange(untold_[choice], Json::array())}};
  }

  static Json message(const ChatAnswer& answer) {
    const std::string content = answer.text_of(Kind::kText), reasoning = answer.text_of(Kind::kReasoning);
    Json message = {{"role", "assistant"}, {"content", content}};
    if (!reasoning.empty()) {
      message["reasoning_content"] = reasoning;
      message["reasoning"] = reasoning;
    }
    if (!answer.has_calls()) return message;
    if (content.empty()) message["content"] = nullptr;
    for (const AnswerBlock& block : answer.blocks)
      if (block.kind == Kind::kToolCall) message["tool_calls"].push_back(call_json(block, block.text));
    return message;
  }

  Json whole(const ChatResult& result) {
    Json json = frame("chat.completion");
    Json choices = Json::array();
    for (std::size_t i = 0; i < result.answers.size(); ++i)
      choices.push_back({{"index", i},
                         {"message", message(result.answers[i])},
                         {"logprobs", take_logprobs(i)},
                         {"finish_reason", reason(result.answers[i])}});
    json["choices"] = std::move(choices);
    json["usage"] = to_json(result.usage);
    return json;
  }

  Call call_;
  bool stream_, include_usage_, logprobs_;
  std::vector<Json> untold_;  // by choice: logprobs of tokens that no event has told yet
  std::string id_ = new_id("chatcmpl-");
  std::int64_t created_ = unix_time();
};

}  // namespace

std::unique_ptr<ChatReply> make_chat_reply(const Call& call, const ChatRequest& request) {
  return std::make_unique<ChatCompletion>(call, request);
}

void chat_completions(const Call& call) {
  const Json body = parse_body(call.request().body);
  call.service().admit(body);
  ChatRequest request = read_chat_request(call.service(), body);
  auto reply = make_chat_reply(call, request);
  answer_chat(call, std::move(request), std::move(reply));
}

}  // namespace latent8
