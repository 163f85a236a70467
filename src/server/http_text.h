#pragma once
// The text of HTTP/1.1 messages.

#include <optional>
#include <string>
#include <string_view>

#include "server/http.h"

namespace latent8 {

inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

std::string to_lower(std::string_view text);

// Path (percent-decoded) and query of a request's target, which may be an absolute URL.
void split_target(std::string_view target, HttpRequest& request);

struct HttpRefusal {
  int status;
  std::string message;
};
// Whether a proxy and this server might see different ends of the body, or the body is not as it was written.
// Where it is refused the connection has to end.
std::optional<HttpRefusal> framing_refusal(const HttpRequest& request, bool http_1_1);

// Status line and headers, up to and with the empty line.
std::string whole_head(const HttpReply& reply, bool keep_alive);
// Of a reply whose length is not known: chunked, or without that up to the end of the connection.
std::string stream_head(const HttpReply& reply, bool keep_alive, bool chunked);
std::string chunk(std::string_view bytes);

// {"error": {...}} in OpenAI's shape, for refusals that no route makes.
std::string plain_error_json(int status, std::string_view message);

std::string_view reason_phrase(int status);

}  // namespace latent8
