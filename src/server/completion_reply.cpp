#include "server/completion_reply.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "server/api_error.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

// {"id": {"logprob", "rank", "decoded_token"}, ...}: the token itself and the likeliest.
Json prompt_logprob(const Tokenizer& tokenizer, const AnsweredToken& token) {
  Json json = Json::object();
  const auto add = [&](std::int32_t id, float logprob, std::int32_t rank) {
    json[std::to_string(id)] = {
        {"logprob", shown_logprob(logprob)}, {"rank", rank}, {"decoded_token", token_text(tokenizer, id)}};
  };
  add(token.id, token.logprob, token.rank);
  for (const TokenLogprob& other : token.top)
    if (other.id != token.id) add(other.id, other.logprob, other.rank);
  return json;
}

}  // namespace

struct CompletionReply::Choice {
  std::string text;        // that no event has told yet
  std::size_t length = 0;  // of all of it, in characters
  Json tokens = Json::array(), token_logprobs = Json::array(), top = Json::array(), offsets = Json::array();
  Json prompt_logprobs = Json::array();
  FinishReason reason = FinishReason::kStop;
};

CompletionReply::CompletionReply(const Call& call, const CompletionForm& form, std::size_t prompts,
                                 std::size_t choices)
    : call_(call), form_(form), open_(prompts), choices_(choices) {}
CompletionReply::~CompletionReply() = default;

void CompletionReply::begin() {
  if (!form_.stream) return;
  const std::lock_guard lock(mutex_);
  call_.begin_events();
  begun_ = true;
  for (const Json& event : std::exchange(early_, {})) call_.event(event);
  if (open_ == 0) end_stream();
}

void CompletionReply::tell(Json event) {
  if (begun_)
    call_.event(event);
  else
    early_.push_back(std::move(event));
}

void CompletionReply::echo(std::size_t choice, std::string_view text) {
  const std::lock_guard lock(mutex_);
  add_text(choice, text);
}

// Texts of tokens need not be those that the whole text has, where characters are cut: offsets are of theirs.
void CompletionReply::echo_token(std::size_t choice, const AnsweredToken& token, bool first) {
  const std::lock_guard lock(mutex_);
  Choice& c = choices_[choice];
  add_token(c, token, c.length, !first);
  c.length += to_code_points(c.tokens.back().get_ref<const std::string&>()).size();
}

void CompletionReply::prompt_token(std::size_t choice, const AnsweredToken& token, bool first) {
  const std::lock_guard lock(mutex_);
  const Tokenizer& tokenizer = call_.service().frontend().tokenizer();
  choices_[choice].prompt_logprobs.push_back(first ? Json(nullptr) : prompt_logprob(tokenizer, token));
}

void CompletionReply::token(std::size_t choice, const AnsweredToken& token) {
  const std::lock_guard lock(mutex_);
  if (form_.logprobs && !form_.no_answer)
    add_token(choices_[choice], token, choices_[choice].length, /*has_logprob=*/true);
}

void CompletionReply::text(std::size_t choice, std::string_view delta) {
  const std::lock_guard lock(mutex_);
  if (form_.no_answer) return;
  add_text(choice, delta);
  choices_[choice].length += to_code_points(delta).size();
}

void CompletionReply::add_text(std::size_t choice, std::string_view text) {
  choices_[choice].text += text;
  if (form_.stream) send(choice, nullptr);
}

void CompletionReply::add_token(Choice& choice, const AnsweredToken& token, std::size_t offset,
                                bool has_logprob) {
  const Tokenizer& tokenizer = call_.service().frontend().tokenizer();
  choice.tokens.push_back(token_text(tokenizer, token.id));
  choice.token_logprobs.push_back(has_logprob ? Json(shown_logprob(token.logprob)) : Json(nullptr));
  choice.offsets.push_back(offset);
  Json top = has_logprob ? Json::object() : Json(nullptr);
  for (const TokenLogprob& other : token.top)
    top[token_text(tokenizer, other.id)] = shown_logprob(other.logprob);
  choice.top.push_back(std::move(top));
}

void CompletionReply::finish(std::size_t choice, const TextFinish& finish, bool first_of_prompt) {
  const std::lock_guard lock(mutex_);
  call_.service().metrics().observe_answer(finish);
  if (first_of_prompt) {
    usage_.prompt += finish.usage.prompt_tokens;
    usage_.cached += finish.usage.cached_tokens;
  }
  usage_.completion += form_.no_answer ? 0 : finish.usage.completion_tokens;
  choices_[choice].reason = finish.reason;
  if (finish.reason == FinishReason::kError)
    failure_ = finish.message;
  else if (form_.stream)
    send(choice, finish_reason(finish.reason));
}

void CompletionReply::prompt_ended() {
  const std::lock_guard lock(mutex_);
  if (--open_ > 0 || (form_.stream && !begun_)) return;
  if (form_.stream) return end_stream();
  if (!failure_.empty()) return call_.refuse({.status = 500, .message = failure_, .param = "", .code = ""});
  Json json = frame();
  json["choices"] = Json::array();
  for (std::size_t i = 0; i < choices_.size(); ++i)
    json["choices"].push_back(choice_json(i, finish_reason(choices_[i].reason)));
  json["usage"] = to_json(usage_);
  call_.reply(json);
}

void CompletionReply::end_stream() {
  if (!failure_.empty()) {
    call_.event(Json::parse(to_json(ApiError{.status = 500, .message = failure_, .param = "", .code = ""})));
  } else if (form_.include_usage) {
    Json json = frame();
    json["choices"] = Json::array();
    json["usage"] = to_json(usage_);
    call_.event(json);
  }
  call_.end_events(/*done_mark=*/true);
}

Json CompletionReply::frame() const {
  return {{"id", id_},
          {"object", "text_completion"},
          {"created", created_},
          {"model", call_.service().options().model_names.front()}};
}

Json CompletionReply::choice_json(std::size_t i, const Json& reason) {
  Choice& c = choices_[i];
  Json logprobs = nullptr;
  if (form_.logprobs)
    logprobs = {{"tokens", std::exchange(c.tokens, Json::array())},
                {"token_logprobs", std::exchange(c.token_logprobs, Json::array())},
                {"top_logprobs", std::exchange(c.top, Json::array())},
                {"text_offset", std::exchange(c.offsets, Json::array())}};
  Json json = {{"index", i},
               {"text", std::exchange(c.text, "")},
               {"logprobs", std::move(logprobs)},
               {"finish_reason", reason}};
  if (!c.prompt_logprobs.empty()) json["prompt_logprobs"] = std::exchange(c.prompt_logprobs, Json::array());
  return json;
}

void CompletionReply::send(std::size_t choice, const Json& reason) {
  Json json = frame();
  json["choices"] = Json::array({choice_json(choice, reason)});
  if (form_.include_usage) json["usage"] = nullptr;
  tell(std::move(json));
}

}  // namespace latent8
