// POST /v1/completions

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "server/answer_fields.h"
#include "server/api_error.h"
#include "server/generation.h"
#include "server/reply_parts.h"
#include "server/service.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kMaxLogprobs = 20;
constexpr std::size_t kMaxPrompts = 1024;
constexpr std::int64_t kDefaultMaxTokens = 16;  // OpenAI's

std::vector<std::int32_t> read_ids(const Json& list, const Fields& body) {
  std::vector<std::int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<std::int32_t>::max())
      body.refuse("prompt", "a text, a list of texts, token ids, or a list of such lists");
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

// A text, token ids, or a list of either.
std::vector<Prompt> read_prompts(const Fields& body, const Frontend& frontend) {
  const Json* given = body.find("prompt");
  if (given == nullptr) body.refuse("prompt", "a text, a list of texts, token ids, or a list of such lists");
  if (given->is_array() && !given->empty() && given->front().is_number())
    return {Prompt{.text = "", .ids = read_ids(*given, body)}};
  const Json list = given->is_array() ? *given : Json::array({*given});
  if (list.empty() || list.size() > kMaxPrompts)
    body.refuse("prompt", fmt::format("1 to {} prompts", kMaxPrompts));
  std::vector<Prompt> prompts;
  for (const Json& prompt : list) {
    if (prompt.is_string())
      prompts.push_back(frontend.raw_prompt(prompt.get<std::string>()));
    else if (prompt.is_array())
      prompts.push_back({.text = "", .ids = read_ids(prompt, body)});
    else
      body.refuse("prompt", "a text, a list of texts, token ids, or a list of such lists");
  }
  return prompts;
}

struct CompletionRequest {
  AnswerFields fields;
  std::vector<Prompt> prompts;
  bool echo = false, logprobs = false;
};

CompletionRequest read_request(const Call& call, const Json& json) {
  const Fields body(json);
  CompletionRequest request;
  request.fields = read_answer_fields(body, call.service().options());
  if (request.fields.sampling.max_tokens == 0) request.fields.sampling.max_tokens = kDefaultMaxTokens;
  if (const auto logprobs = body.integer("logprobs", 0, kMaxLogprobs)) {
    request.logprobs = true;
    request.fields.sampling.logprobs = static_cast<std::int32_t>(*logprobs);
  }
  request.echo = body.boolean("echo").value_or(false);
  if (request.echo && request.logprobs)
    body.refuse("echo", "no 'logprobs' beside it (those of prompts are not computed yet)");
  request.prompts = read_prompts(body, call.service().frontend());
  return request;
}

// What all prompts of a request have in common: their reply.
class CompletionReply {
 public:
  CompletionReply(const Call& call, const CompletionRequest& request)
      : call_(call),
        stream_(request.fields.stream),
        include_usage_(request.fields.include_usage),
        logprobs_(request.logprobs),
        open_(request.prompts.size()),
        choices_(request.prompts.size() * static_cast<std::size_t>(request.fields.n)) {}

  // Thread-safety of all below: any thread.
  void begin() {
    if (stream_) call_.begin_events();
  }
  void text(std::size_t choice, std::string_view delta) {
    const std::lock_guard lock(mutex_);
    choices_[choice].text += delta;
    choices_[choice].length += delta.size();
    if (stream_) send(choice, nullptr);
  }
  void token(std::size_t choice, const AnsweredToken& token) {
    const std::lock_guard lock(mutex_);
    if (!logprobs_) return;
    const Tokenizer& tokenizer = call_.service().frontend().tokenizer();
    Choice& c = choices_[choice];
    c.tokens.push_back(token_text(tokenizer, token.id));
    c.token_logprobs.push_back(token.logprob);
    c.offsets.push_back(c.length);
    Json top = Json::object();
    for (const TokenLogprob& other : token.top) top[token_text(tokenizer, other.id)] = other.logprob;
    c.top.push_back(std::move(top));
  }
  void finish(std::size_t choice, const TextFinish& finish, bool first_of_prompt) {
    const std::lock_guard lock(mutex_);
    call_.service().metrics().observe_answer(finish);
    usage_.prompt += first_of_prompt ? finish.usage.prompt_tokens : 0;
    usage_.completion += finish.usage.completion_tokens;
    choices_[choice].reason = finish.reason;
    if (finish.reason == FinishReason::kError)
      failure_ = finish.message;
    else if (stream_)
      send(choice, finish_reason(finish.reason));
  }
  void prompt_ended() {
    const std::lock_guard lock(mutex_);
    if (--open_ > 0) return;
    if (stream_) {
      if (!failure_.empty())
        call_.event(
            Json::parse(to_json(ApiError{.status = 500, .message = failure_, .param = "", .code = ""})));
      if (include_usage_ && failure_.empty()) {
        Json json = frame();
        json["choices"] = Json::array();
        json["usage"] = to_json(usage_);
        call_.event(json);
      }
      call_.end_events(/*done_mark=*/true);
    } else if (!failure_.empty()) {
      call_.refuse({.status = 500, .message = failure_, .param = "", .code = ""});
    } else {
      Json json = frame();
      json["choices"] = Json::array();
      for (std::size_t i = 0; i < choices_.size(); ++i)
        json["choices"].push_back(choice_json(i, finish_reason(choices_[i].reason)));
      json["usage"] = to_json(usage_);
      call_.reply(json);
    }
  }

 private:
  struct Choice {
    std::string text;        // that no event has told yet
    std::size_t length = 0;  // of all of it
    Json tokens = Json::array(), token_logprobs = Json::array(), top = Json::array(), offsets = Json::array();
    FinishReason reason = FinishReason::kStop;
  };

  Json frame() const {
    return {{"id", id_},
            {"object", "text_completion"},
            {"created", created_},
            {"model", call_.service().options().model_names.front()}};
  }
  Json choice_json(std::size_t i, const Json& reason) {
    Choice& c = choices_[i];
    Json logprobs = nullptr;
    if (logprobs_)
      logprobs = {{"tokens", std::exchange(c.tokens, Json::array())},
                  {"token_logprobs", std::exchange(c.token_logprobs, Json::array())},
                  {"top_logprobs", std::exchange(c.top, Json::array())},
                  {"text_offset", std::exchange(c.offsets, Json::array())}};
    return {{"index", i},
            {"text", std::exchange(c.text, "")},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", reason}};
  }
  void send(std::size_t choice, const Json& reason) {
    Json json = frame();
    json["choices"] = Json::array({choice_json(choice, reason)});
    if (include_usage_) json["usage"] = nullptr;
    call_.event(json);
  }

  Call call_;
  bool stream_, include_usage_, logprobs_;
  std::mutex mutex_;
  std::size_t open_;  // prompts
  std::vector<Choice> choices_;
  UsageCount usage_;
  std::string failure_;
  std::string id_ = new_id("cmpl-");
  std::int64_t created_ = unix_time();
};

// The answers to one of the prompts.
class PromptAnswers final : public Generation {
 public:
  PromptAnswers(Service& service, std::shared_ptr<CompletionReply> reply, std::size_t first, std::string echo)
      : Generation(service), reply_(std::move(reply)), first_(first), echo_(std::move(echo)) {}

 private:
  void on_token(std::size_t choice, const AnsweredToken& token, bool) override {
    if (!echo_.empty()) tell_prompt(choice);
    reply_->token(first_ + choice, token);
  }
  void on_text(std::size_t choice, std::string_view delta, bool) override {
    reply_->text(first_ + choice, delta);
  }
  void on_finish(std::size_t choice, const TextFinish& finish) override {
    reply_->finish(first_ + choice, finish, choice == 0);
  }
  void on_end() override { reply_->prompt_ended(); }

  void tell_prompt(std::size_t choice) {
    if (echoed_.size() <= choice) echoed_.resize(choice + 1);
    if (!std::exchange(echoed_[choice], true)) reply_->text(first_ + choice, echo_);
  }

  std::shared_ptr<CompletionReply> reply_;
  std::size_t first_;  // of the reply's choices
  std::string echo_;
  std::vector<char> echoed_;
};

}  // namespace

void completions(const Call& call) {
  const Json json = parse_body(call.request().body);
  call.service().admit(json);
  CompletionRequest request = read_request(call, json);
  const auto reply = std::make_shared<CompletionReply>(call, request);
  const Tokenizer& tokenizer = call.service().frontend().tokenizer();
  std::vector<std::shared_ptr<PromptAnswers>> answers;
  const AnswerFields& fields = request.fields;
  for (Prompt& prompt : request.prompts) {
    const std::string echo = !request.echo         ? ""
                             : prompt.text.empty() ? tokenizer.decode(prompt.ids)
                                                   : prompt.text;
    answers.push_back(std::make_shared<PromptAnswers>(
        call.service(), reply, answers.size() * static_cast<std::size_t>(fields.n), echo));
    SamplingParams sampling = fields.sampling;
    call.service().limit(prompt, sampling);
    call.service().frontend().engine().check(
        {.token_ids = prompt.ids, .sampling = std::move(sampling), .mask = nullptr});
  }
  reply->begin();
  for (std::size_t i = 0; i < answers.size(); ++i)
    answers[i]->start({.prompt = std::move(request.prompts[i]),
                       .sampling = fields.sampling,
                       .stop = fields.stop,
                       .split_reasoning = false,
                       .keep_special = fields.keep_special,
                       .mask = nullptr},
                      fields.n);
  call.exchange().on_abort([answers] {
    for (const auto& answer : answers) answer->cancel();
  });
}

}  // namespace latent8
