// POST /v1/completions

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "server/answer_fields.h"
#include "server/completion_reply.h"
#include "server/generation.h"
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
    return {frontend.token_prompt(read_ids(*given, body))};
  const Json list = given->is_array() ? *given : Json::array({*given});
  if (list.empty() || list.size() > kMaxPrompts)
    body.refuse("prompt", fmt::format("1 to {} prompts", kMaxPrompts));
  std::vector<Prompt> prompts;
  for (const Json& prompt : list) {
    if (prompt.is_string())
      prompts.push_back(frontend.raw_prompt(prompt.get<std::string>()));
    else if (prompt.is_array())
      prompts.push_back(frontend.token_prompt(read_ids(prompt, body)));
    else
      body.refuse("prompt", "a text, a list of texts, token ids, or a list of such lists");
  }
  return prompts;
}

struct CompletionRequest {
  AnswerFields fields;
  CompletionForm form;
  std::vector<Prompt> prompts;
  bool echo = false;
};

CompletionRequest read_request(const Call& call, const Json& json) {
  const Fields body(json);
  CompletionRequest request;
  CompletionForm& form = request.form;
  AnswerFields& fields = request.fields;
  fields = read_answer_fields(body, call.service().options(), /*least_max_tokens=*/0);
  form = {.stream = fields.stream, .include_usage = fields.include_usage};
  form.no_answer = fields.no_answer;
  if (fields.sampling.max_tokens == 0) fields.sampling.max_tokens = kDefaultMaxTokens;
  if (const auto logprobs = body.integer("logprobs", 0, kMaxLogprobs)) {
    form.logprobs = true;
    fields.sampling.logprobs = static_cast<std::int32_t>(*logprobs);
  }
  form.prompt_logprobs = fields.prompt_logprobs >= 0;
  request.echo = body.boolean("echo").value_or(false);
  if (request.echo && form.logprobs)
    fields.prompt_logprobs = std::max(fields.prompt_logprobs, fields.sampling.logprobs);
  request.prompts = read_prompts(body, call.service().frontend());
  return request;
}

// The answers to one of the prompts.
class PromptAnswers final : public Generation {
 public:
  // first: of the reply's choices. echo: the prompt's text; nullopt where it is not wanted.
  PromptAnswers(Service& service, std::shared_ptr<CompletionReply> reply, const CompletionForm& form,
                std::size_t first, std::int32_t first_token, std::optional<std::string> echo)
      : Generation(service), reply_(std::move(reply)), form_(form), first_(first), echo_(std::move(echo)) {
    first_token_.id = first_token;
  }

 private:
  void on_prompt_token(std::size_t choice, const AnsweredToken& token) override {
    if (is_first(choice)) tell_prompt_token(choice, first_token_, /*first=*/true);
    tell_prompt_token(choice, token, /*first=*/false);
  }
  void on_token(std::size_t choice, const AnsweredToken& token, bool) override {
    tell_echo(choice);
    reply_->token(first_ + choice, token);
  }
  void on_text(std::size_t choice, std::string_view delta, bool) override {
    reply_->text(first_ + choice, delta);
  }
  void on_finish(std::size_t choice, const TextFinish& finish) override {
    reply_->finish(first_ + choice, finish, choice == 0);
  }
  void on_end() override { reply_->prompt_ended(); }

  void tell_prompt_token(std::size_t choice, const AnsweredToken& token, bool first) {
    if (form_.prompt_logprobs) reply_->prompt_token(first_ + choice, token, first);
    if (echo_ && form_.logprobs) reply_->echo_token(first_ + choice, token, first);
  }

  // Before an answer's first token: the prompt, and what a prompt of one token has told nobody.
  void tell_echo(std::size_t choice) {
    if (is_first(choice) && (form_.prompt_logprobs || form_.logprobs))
      tell_prompt_token(choice, first_token_, /*first=*/true);
    if (echo_ && !mark(choice, echoed_)) reply_->echo(first_ + choice, *echo_);
  }
  bool is_first(std::size_t choice) { return !mark(choice, begun_); }
  // Whether it was marked before.
  static bool mark(std::size_t choice, std::vector<char>& marks) {
    if (marks.size() <= choice) marks.resize(choice + 1);
    return std::exchange(marks[choice], 1) != 0;
  }

  std::shared_ptr<CompletionReply> reply_;
  CompletionForm form_;
  std::size_t first_;
  AnsweredToken first_token_;  // of the prompt: it has no logprob
  std::optional<std::string> echo_;
  std::vector<char> begun_, echoed_;  // by choice
};

}  // namespace

void completions(const Call& call) {
  const Json json = parse_body(call.request().body);
  call.service().admit(json);
  CompletionRequest request = read_request(call, json);
  const AnswerFields& fields = request.fields;
  const auto n = static_cast<std::size_t>(fields.n);
  call.service().admit_answers(static_cast<std::int64_t>(request.prompts.size()), fields.n);
  const auto reply = std::make_shared<CompletionReply>(call, request.form, request.prompts.size(),
                                                       request.prompts.size() * n);
  Frontend& frontend = call.service().frontend();
  std::vector<std::shared_ptr<PromptAnswers>> answers;
  std::vector<MaskFactory> masks;
  for (Prompt& prompt : request.prompts) {
    SamplingParams sampling = fields.sampling;
    call.service().limit(prompt, sampling);
    std::optional<std::string> echo;
    if (request.echo) echo = prompt.text.empty() ? frontend.tokenizer().decode(prompt.ids) : prompt.text;
    frontend.engine().check({.token_ids = prompt.ids, .sampling = std::move(sampling), .mask = nullptr});
    masks.push_back(
        with_field(fields.format.grammar_field, [&] { return frontend.masks(fields.format.form, prompt); }));
    answers.push_back(std::make_shared<PromptAnswers>(call.service(), reply, request.form, answers.size() * n,
                                                      prompt.ids.front(), std::move(echo)));
  }
  const auto cancel = [answers] {
    for (const auto& answer : answers) answer->cancel();
  };
  try {
    for (std::size_t i = 0; i < answers.size(); ++i)
      answers[i]->start({.prompt = std::move(request.prompts[i]),
                         .sampling = fields.sampling,
                         .stop = fields.stop,
                         .split_reasoning = false,
                         .keep_special = fields.keep_special,
                         .make_mask = std::move(masks[i]),
                         .prompt_logprobs = fields.prompt_logprobs},
                        fields.n);
  } catch (...) {  // the queue is full: those that have begun answer nobody
    cancel();
    throw;
  }
  reply->begin();
  call.exchange().on_abort(cancel);
}

}  // namespace latent8
