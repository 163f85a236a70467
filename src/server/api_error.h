#pragma once
// A request that is refused, in the shape that clients read.

#include <cstdint>
#include <string>
#include <string_view>
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

enum class ErrorStyle : std::uint8_t { kOpenAi, kAnthropic };
// What clients of the route read.
ErrorStyle error_style(std::string_view path);

// {"error": {"message", "type", "param", "code"}}, or {"type": "error", "error": {"type", "message"}}
std::string to_json(const ApiError& error, ErrorStyle style = ErrorStyle::kOpenAi);
HttpReply to_reply(const ApiError& error, ErrorStyle style = ErrorStyle::kOpenAi);

}  // namespace latent8
