#include "server/api_error.h"

#include <nlohmann/json.hpp>

#include "formats/json.h"

namespace latent8 {
namespace {

nlohmann::ordered_json or_null(const std::string& text) {
  return text.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(text);
}

HttpReply reply_of(const ApiError& error, std::string body) {
  HttpReply reply{.status = error.status, .body = std::move(body), .headers = {}};
  if (error.retry_after_s > 0) reply.headers.emplace_back("retry-after", std::to_string(error.retry_after_s));
  return reply;
}

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

std::string to_json(const ApiError& error) {
  const nlohmann::ordered_json json = {{"error",
                                        {{"message", error.message},
                                         {"type", error.type()},
                                         {"param", or_null(error.param)},
                                         {"code", or_null(error.code)}}}};
  return json_utf8(json);
}

HttpReply openai_reply(const ApiError& error) { return reply_of(error, to_json(error)); }

std::string anthropic_json(const ApiError& error) {
  return json_utf8(
      {{"type", "error"}, {"error", {{"type", anthropic_type(error.status)}, {"message", error.message}}}});
}

HttpReply anthropic_reply(const ApiError& error) { return reply_of(error, anthropic_json(error)); }

}  // namespace latent8
