// POST /v1/chat/completions

#include <nlohmann/json.hpp>
#include <utility>

#include "server/answer_fields.h"
#include "server/api_error.h"
#include "server/chat_messages.h"
#include "server/generation.h"
#include "server/reply_parts.h"
#include "server/service.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kMaxTopLogprobs = 20;

struct ChatRequest {
  AnswerFields fields;
  Prompt prompt;
  bool logprobs = false;
};

ChatRequest read_request(const Call& call, const Json& json) {
  const Fields body(json);
  ChatRequest request;
  request.fields = read_answer_fields(body, call.service().options());
  request.logprobs = body.boolean("logprobs").value_or(false);
  const std::int64_t top = body.integer("top_logprobs", 0, kMaxTopLogprobs).value_or(0);
  if (top > 0 && !request.logprobs) body.refuse("top_logprobs", "'logprobs': true beside it");
  if (request.logprobs) request.fields.sampling.logprobs = static_cast<std::int32_t>(top);
  request.prompt =
      call.service().frontend().chat_prompt(read_messages(body), read_tools(body), read_variables(body));
  return request;
}

// Both forms of the reply: the whole of it, or events as they come.
class ChatReply final : public Generation {
 public:
  ChatReply(const Call& call, const ChatRequest& request)
      : Generation(call.service()),
        call_(call),
        stream_(request.fields.stream),
        include_usage_(request.fields.include_usage),
        logprobs_(request.logprobs),
        choices_(static_cast<std::size_t>(request.fields.n)) {}

 private:
  struct Text {
    std::string content, reasoning;
    Json logprobs = Json::array();  // of tokens that no event has told yet
    FinishReason reason = FinishReason::kStop;
  };

  void on_start() override {
    if (!stream_) return;
    call_.begin_events();
    for (std::size_t i = 0; i < choices_.size(); ++i)
      send(i, {{"role", "assistant"}, {"content", ""}}, nullptr);
  }
  void on_token(std::size_t choice, const AnsweredToken& token, bool is_reasoning) override {
    usage_.reasoning += is_reasoning ? 1 : 0;
    if (logprobs_) choices_[choice].logprobs.push_back(chat_logprob(tokenizer(), token));
  }
  void on_text(std::size_t choice, std::string_view delta, bool is_reasoning) override {
    if (!stream_) {
      (is_reasoning ? choices_[choice].reasoning : choices_[choice].content) += delta;
    } else if (is_reasoning) {
      send(choice, {{"reasoning_content", delta}, {"reasoning", delta}}, nullptr);
    } else {
      send(choice, {{"content", delta}}, nullptr);
    }
  }
  void on_finish(std::size_t choice, const TextFinish& finish) override {
    call_.service().metrics().observe_answer(finish);
    usage_.prompt = finish.usage.prompt_tokens;
    if (choice == 0) usage_.cached = finish.usage.cached_tokens;
    usage_.completion += finish.usage.completion_tokens;
    choices_[choice].reason = finish.reason;
    if (finish.reason == FinishReason::kError) failure_ = finish.message;
    if (stream_ && finish.reason != FinishReason::kError)
      send(choice, Json::object(), finish_reason(finish.reason));
  }
  void on_end() override {
    if (stream_) {
      if (!failure_.empty()) call_.event(error_json());
      if (include_usage_ && failure_.empty()) send_usage();
      call_.end_events(/*done_mark=*/true);
    } else if (!failure_.empty()) {
      call_.refuse({.status = 500, .message = failure_, .param = "", .code = ""});
    } else {
      call_.reply(whole());
    }
  }

  const Tokenizer& tokenizer() const { return call_.service().frontend().tokenizer(); }

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
    if (!call_.event(json)) cancel();
  }
  void send_usage() {
    Json json = frame("chat.completion.chunk");
    json["choices"] = Json::array();
    json["usage"] = to_json(usage_);
    call_.event(json);
  }

  Json take_logprobs(std::size_t choice) {
    if (choices_[choice].logprobs.empty()) return nullptr;
    return {{"content", std::exchange(choices_[choice].logprobs, Json::array())}};
  }

  Json whole() {
    Json json = frame("chat.completion");
    Json choices = Json::array();
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      Json message = {{"role", "assistant"}, {"content", choices_[i].content}};
      if (!choices_[i].reasoning.empty()) {
        message["reasoning_content"] = choices_[i].reasoning;
        message["reasoning"] = choices_[i].reasoning;
      }
      choices.push_back({{"index", i},
                         {"message", std::move(message)},
                         {"logprobs", take_logprobs(i)},
                         {"finish_reason", finish_reason(choices_[i].reason)}});
    }
    json["choices"] = std::move(choices);
    json["usage"] = to_json(usage_);
    return json;
  }

  Json error_json() const {
    return Json::parse(to_json(ApiError{.status = 500, .message = failure_, .param = "", .code = ""}));
  }

  Call call_;
  bool stream_, include_usage_, logprobs_;
  std::vector<Text> choices_;
  UsageCount usage_;
  std::string failure_;
  std::string id_ = new_id("chatcmpl-");
  std::int64_t created_ = unix_time();
};

}  // namespace

void chat_completions(const Call& call) {
  const Json json = parse_body(call.request().body);
  call.service().admit(json);
  ChatRequest request = read_request(call, json);
  const auto reply = std::make_shared<ChatReply>(call, request);
  reply->start({.prompt = std::move(request.prompt),
                .sampling = std::move(request.fields.sampling),
                .stop = std::move(request.fields.stop),
                .keep_special = request.fields.keep_special,
                .mask = nullptr},
               request.fields.n);
  call.exchange().on_abort([reply] { reply->cancel(); });
}

}  // namespace latent8
