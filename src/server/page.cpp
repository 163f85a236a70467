#include "server/page.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "base/checksum.h"

namespace latent8 {
namespace {

constexpr std::string_view kIndex = "index.html";

constexpr std::pair<std::string_view, std::string_view> kContentTypes[] = {
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".svg", "image/svg+xml"}};

constexpr std::string_view kSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

std::string content_type(std::string_view name) {
  for (const auto& [ending, type] : kContentTypes)
    if (name.ends_with(ending)) return std::string(type);
  LATENT8_CHECK(false);
  return {};
}

}  // namespace

std::string page_path(const EmbeddedFile& file) {
  return file.name == kIndex ? "/" : fmt::format("/page/{}", file.name);
}

HttpReply page_reply(const EmbeddedFile& file, const HttpRequest& request) {
  const std::string tag =
      fmt::format("\"{:016x}\"", checksum(std::as_bytes(std::span(file.bytes.data(), file.bytes.size()))));
  HttpReply reply{.content_type = content_type(file.name),
                  .body = "",
                  .headers = {{"etag", tag},
                              {"cache-control", "no-cache"},
                              {"content-security-policy", std::string(kSecurityPolicy)},
                              {"x-content-type-options", "nosniff"},
                              {"referrer-policy", "no-referrer"},
                              {"cross-origin-opener-policy", "same-origin"}}};
  if (request.header("if-none-match").find(tag) != std::string_view::npos)
    reply.status = 304;
  else
    reply.body = file.bytes;
  return reply;
}

}  // namespace latent8
