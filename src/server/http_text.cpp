#include "server/http_text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <vector>

namespace latent8 {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string head(const HttpReply& reply, bool keep_alive) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", reply.status, reason_phrase(reply.status));
  const std::time_t now = std::time(nullptr);
  out += fmt::format("date: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", fmt::gmtime(now));
  if (!reply.content_type.empty()) out += fmt::format("content-type: {}\r\n", reply.content_type);
  for (const auto& [name, value] : reply.headers) out += fmt::format("{}: {}\r\n", name, value);
  out += keep_alive ? "connection: keep-alive\r\n" : "connection: close\r\n";
  return out;
}

}  // namespace

std::string to_lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

void split_target(std::string_view target, HttpRequest& request) {
  if (!target.starts_with('/')) {  // http://host/path
    const std::size_t scheme = target.find("://");
    const std::size_t slash = scheme == std::string_view::npos ? scheme : target.find('/', scheme + 3);
    if (slash != std::string_view::npos) target.remove_prefix(slash);
  }
  const std::size_t question = target.find('?');
  request.path = percent_decode(target.substr(0, question));
  request.query = question == std::string_view::npos ? "" : std::string(target.substr(question + 1));
}

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

std::optional<HttpRefusal> framing_refusal(const HttpRequest& request, bool http_1_1) {
  std::vector<std::string> codings;
  std::size_t hosts = 0;
  for (const auto& [name, value] : request.headers) {
    if (name == "transfer-encoding") codings.push_back(to_lower(value));
    if (name == "host") ++hosts;
  }
  if (hosts > 1 || (hosts == 0 && http_1_1)) return HttpRefusal{400, "'Host' once expected"};
  if (!codings.empty() && !http_1_1) return HttpRefusal{400, "no 'Transfer-Encoding' in HTTP/1.0 expected"};
  if (codings.size() > 1 || (codings.size() == 1 && codings[0] != "chunked"))
    return HttpRefusal{501, "'Transfer-Encoding': 'chunked' and nothing else expected"};
  const std::string content = to_lower(request.header("content-encoding"));
  if (!content.empty() && content != "identity")
    return HttpRefusal{415, "'Content-Encoding': none expected; send the body as it is"};
  return {};
}

std::string whole_head(const HttpReply& reply, bool keep_alive) {
  // A length beside 304 would be that of the body which is not sent.
  if (reply.status == 304) return head(reply, keep_alive) + "\r\n";
  return head(reply, keep_alive) + fmt::format("content-length: {}\r\n\r\n", reply.body.size());
}

std::string stream_head(const HttpReply& reply, bool keep_alive, bool chunked) {
  return head(reply, keep_alive) + (chunked ? "transfer-encoding: chunked\r\n\r\n" : "\r\n");
}

std::string chunk(std::string_view bytes) { return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes); }

std::string plain_error_json(int status, std::string_view message) {
  std::string text;
  for (const char c : message)
    text += c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  const char* type = status >= 500 ? "server_error" : "invalid_request_error";
  return fmt::format(R"({{"error":{{"message":"{}","type":"{}","param":null,"code":null}}}})", text, type);
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Content";
    case 424:
      return "Failed Dependency";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    default:
      return "Unknown";
  }
}

}  // namespace latent8
