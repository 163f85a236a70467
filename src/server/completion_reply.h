#pragma once
// The reply of /v1/completions: what all prompts of a request have in common.

#include <cstdint>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "server/generation.h"
#include "server/reply_parts.h"
#include "server/service.h"

namespace latent8 {

struct CompletionForm {
  bool stream = false;
  bool include_usage = false;
  bool logprobs = false;         // of the tokens that the text shows
  bool prompt_logprobs = false;  // a list of their own, as vLLM has it
  bool no_answer = false;        // max_tokens is 0: the prompt alone
};

// Thread-safety: all methods may be called from any thread.
class CompletionReply {
 public:
  // choices: of all prompts together.
  CompletionReply(const Call& call, const CompletionForm& form, std::size_t prompts, std::size_t choices);
  ~CompletionReply();
  CompletionReply(const CompletionReply&) = delete;
  CompletionReply& operator=(const CompletionReply&) = delete;

  // REQUIRES: every prompt is under way: what they have told until now was kept.
  void begin();
  // The prompt's part of a choice, where it is asked for: before anything of its answer.
  void echo(std::size_t choice, std::string_view text);
  void echo_token(std::size_t choice, const AnsweredToken& token, bool first);
  void prompt_token(std::size_t choice, const AnsweredToken& token, bool first);

  void token(std::size_t choice, const AnsweredToken& token);
  void text(std::size_t choice, std::string_view delta);
  void finish(std::size_t choice, const TextFinish& finish, bool first_of_prompt);
  void prompt_ended();

 private:
  using Json = nlohmann::ordered_json;
  struct Choice;

  void add_text(std::size_t choice, std::string_view text);
  void add_token(Choice& choice, const AnsweredToken& token, std::size_t offset, bool has_logprob);
  Json frame() const;
  Json choice_json(std::size_t i, const Json& reason);
  void send(std::size_t choice, const Json& reason);
  void tell(Json event);
  void end_stream();

  Call call_;
  CompletionForm form_;
  std::mutex mutex_;
  std::size_t open_;  // prompts
  bool begun_ = false;
  std::vector<Json> early_;  // events before begin()
  std::vector<Choice> choices_;
  UsageCount usage_;
  std::string failure_;
  std::string id_ = new_id("cmpl-");
  std::int64_t created_ = unix_time();
};

}  // namespace latent8
