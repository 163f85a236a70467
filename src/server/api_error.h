#pragma once
// A request that is refused, in the shape that OpenAI's clients read.

#include <string>
#include <utility>

#include "server/http.h"

namespace latent8 {

struct ApiError {
  int status = 400;
  std::string message;
  std::string param;  // the field that is meant; "" for none
  std::string code;   // a word for programs; "" for none
  int retry_after_s = 0;

  std::string type() const;
};

// {"error": {"message", "type", "param", "code"}}
std::string to_json(const ApiError& error);
HttpReply openai_reply(const ApiError& error);

// {"type": "error", "error": {"type", "message"}}, as Anthropic's clients read it.
std::string anthropic_json(const ApiError& error);
HttpReply anthropic_reply(const ApiError& error);

}  // namespace latent8
