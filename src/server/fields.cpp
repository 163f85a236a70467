#include "server/fields.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "formats/json.h"
#include "formats/nested_json.h"
#include "latent8/error.h"
#include "server/api_error.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Json parse_body(std::string_view body) {
  Json json;
  try {
    json = parse_nested_json(body, "the body", kMaxBodyDepth);
  } catch (const Error& error) {
    throw ApiError{.status = 400, .message = error.what(), .param = "", .code = "invalid_json"};
  }
  if (!json.is_object())
    throw ApiError{.status = 400,
                   .message = "the body: a JSON object expected, got " + shown_json(json),
                   .param = "",
                   .code = "invalid_json"};
  return json;
}

Fields::Fields(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object())
    throw ApiError{.status = 400,
                   .message = fmt::format("'{}': an object expected, got {}", path_, shown_json(object)),
                   .param = path_,
                   .code = ""};
}

const Json* Fields::find(const char* key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

std::string Fields::path_of(const char* key) const { return path_.empty() ? key : path_ + "." + key; }

void Fields::refuse(const char* key, std::string_view expected) const {
  const Json* value = find(key);
  throw ApiError{.status = 400,
                 .message = fmt::format("'{}': {} expected, got {}", path_of(key), expected,
                                        value == nullptr ? "nothing" : shown_json(*value)),
                 .param = path_of(key),
                 .code = ""};
}

std::optional<bool> Fields::boolean(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

std::optional<std::int64_t> Fields::integer(const char* key, std::int64_t low, std::int64_t high) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  const auto expected = [&] {
    return high == std::numeric_limits<std::int64_t>::max()
               ? fmt::format("a whole number of {} or more", low)
               : fmt::format("a whole number from {} to {}", low, high);
  };
  constexpr double kExact = 9007199254740992.0;  // 2^53
  std::int64_t number = 0;
  if (value->is_number_unsigned()) {
    const auto large = value->get<std::uint64_t>();
    if (large > static_cast<std::uint64_t>(high)) refuse(key, expected());
    number = static_cast<std::int64_t>(large);
  } else if (value->is_number_integer()) {
    number = value->get<std::int64_t>();
  } else if (value->is_number_float() && std::abs(value->get<double>()) <= kExact &&
             std::nearbyint(value->get<double>()) == value->get<double>()) {
    number = static_cast<std::int64_t>(value->get<double>());
  } else {
    refuse(key, expected());
  }
  if (number < low || number > high) refuse(key, expected());
  return number;
}

std::optional<double> Fields::number(const char* key, double low, double high) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high))
    refuse(key, fmt::format("a number from {} to {}", low, high));
  return value->get<double>();
}

std::optional<std::string> Fields::text(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(key, "a text");
  return value->get<std::string>();
}

std::string Fields::need_text(const char* key) const {
  std::optional<std::string> value = text(key);
  if (!value) refuse(key, "a text");
  return *std::move(value);
}

const Json* Fields::array(const char* key) const {
  const Json* value = find(key);
  if (value != nullptr && !value->is_array()) refuse(key, "a list");
  return value;
}

const Json* Fields::object(const char* key) const {
  const Json* value = find(key);
  if (value != nullptr && !value->is_object()) refuse(key, "an object");
  return value;
}

std::optional<std::vector<std::int32_t>> Fields::token_ids(const char* key, std::int64_t end) const {
  const Json* list = array(key);
  if (list == nullptr) return {};
  std::vector<std::int32_t> ids;
  for (const Json& id : *list) {
    if (!id.is_number_integer() || id < 0 || id >= end)
      refuse(key, fmt::format("a list of token ids from 0 to {}", end - 1));
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

std::vector<std::string> Fields::texts(const char* key, std::size_t most) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  const std::string expected = fmt::format("a text or a list of at most {} texts, none of them empty", most);
  std::vector<std::string> out;
  if (value->is_string()) {
    out.push_back(value->get<std::string>());
  } else if (value->is_array() && value->size() <= most) {
    for (const Json& text : *value) {
      if (!text.is_string()) refuse(key, expected);
      out.push_back(text.get<std::string>());
    }
  } else {
    refuse(key, expected);
  }
  for (const std::string& text : out)
    if (text.empty()) refuse(key, expected);
  return out;
}

}  // namespace latent8
