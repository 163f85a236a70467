#include "grammar/schema_keywords.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::array<const char*, 6>::const_iterator chooser_of(const Json& schema) {
  return std::find_if(kChoosers.begin(), kChoosers.end(),
                      [&](const char* key) { return schema.contains(key); });
}

bool fits(const Json& value, KeywordValue wanted) {
  switch (wanted) {
    case KeywordValue::kText:
      return value.is_string();
    case KeywordValue::kNumber:
      return value.is_number();
    case KeywordValue::kCount:
      return value.is_number_unsigned();
    case KeywordValue::kBoolean:
      return value.is_boolean();
    case KeywordValue::kList:
      return value.is_array();
    case KeywordValue::kObject:
      return value.is_object();
    case KeywordValue::kSchema:
      return value.is_object() || value.is_boolean();
  }
  return false;
}

const char* name_of(KeywordValue value) {
  constexpr std::array kNames = {"a text", "a number",  "a whole number of 0 or more", "true or false",
                                 "a list", "an object", "an object, true or false"};
  return kNames[static_cast<std::size_t>(value)];
}

bool has_type(const Json& value, const std::string& type) {
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "array") return value.is_array();
  return type == "object" && value.is_object();
}

const char* pattern_of_format(const std::string& format) {
  if (format == "email")
    return "^[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9]"
           "([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$";
  if (format == "json-pointer") return "^(/([^/~]|~[01])*)*$";
  if (format == "relative-json-pointer") return "^(0|[1-9][0-9]*)(#|(/([^/~]|~[01])*)*)$";
  return nullptr;
}

}  // namespace latent8
