// What clients send. The first byte chooses: 'f' a body and its fields, 'u' the target of a request. Allowed:
// values, or an error that names what is wrong.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/check.h"
#include "latent8/error.h"
#include "server/api_error.h"
#include "server/chat_messages.h"
#include "server/fields.h"
#include "server/http_text.h"

namespace latent8 {
namespace {

// Every member of the body as each type that a route may ask for.
void read_every_way(const Fields& body, const char* key) {
  const auto tolerate = [](const auto& read) {
    try {
      static_cast<void>(read());
    } catch (const ApiError& error) {
      LATENT8_CHECK(error.status == 400 && !error.message.empty());
      static_cast<void>(to_json(error));
    }
  };
  tolerate([&] { return body.boolean(key); });
  tolerate([&] { return body.integer(key, -5, 5); });
  tolerate([&] { return body.number(key, 0.0, 1.0); });
  tolerate([&] { return body.text(key); });
  tolerate([&] { return body.texts(key, 4); });
  tolerate([&] { return body.object(key); });
}

void read_fields(std::string_view text) {
  try {
    const nlohmann::ordered_json json = parse_body(text);
    const Fields body(json);
    for (const auto& [key, value] : json.items()) read_every_way(body, key.c_str());
    static_cast<void>(read_tools(body));
    static_cast<void>(read_messages(body));
  } catch (const ApiError& error) {
    LATENT8_CHECK(error.status == 400 && !error.message.empty());
    static_cast<void>(to_json(error));
  }
}

void read_target(std::string_view text) {
  HttpRequest request;
  split_target(text, request);
  LATENT8_CHECK(request.path.size() + request.query.size() <= text.size());
}

}  // namespace
}  // namespace latent8

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  try {
    if (data[0] == 'f') latent8::read_fields(text);
    if (data[0] == 'u') latent8::read_target(text);
  } catch (const latent8::Error&) {
    return 0;
  }
  return 0;
}
