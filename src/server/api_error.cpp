#include "server/api_error.h"

#include <nlohmann/json.hpp>

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

const char* anthropic_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

}  // namespace

std::string ApiError::type() const {
  switch (status) {
    case 401:
      return "authentication_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

ErrorStyle error_style(std::string_view path) {
  return path.starts_with("/v1/messages") ? ErrorStyle::kAnthropic : ErrorStyle::kOpenAi;
}

std::string to_json(const ApiError& error, ErrorStyle style) {
  Json json;
  if (style == ErrorStyle::kAnthropic)
    json = {{"type", "error"},
            {"error", {{"type", anthropic_type(error.status)}, {"message", error.message}}}};
  else
    json = {{"error",
             {{"message", error.message},
              {"type", error.type()},
              {"param", or_null(error.param)},
              {"code", or_null(error.code)}}}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

HttpReply to_reply(const ApiError& error, ErrorStyle style) {
  HttpReply reply{.status = error.status, .body = to_json(error, style), .headers = {}};
  if (error.retry_after_s > 0) reply.headers.emplace_back("retry-after", std::to_string(error.retry_after_s));
  return reply;
}

}  // namespace latent8
