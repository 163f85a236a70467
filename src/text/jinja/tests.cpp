#include <algorithm>
#include <array>

#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

constexpr std::array<std::string_view, 38> kTests = {
    "defined",  "undefined", "none",        "None",        "boolean", "true",     "True",     "false",
    "False",    "string",    "mapping",     "number",      "integer", "float",    "eq",       "==",
    "equalto",  "ne",        "!=",          "lt",          "<",       "lessthan", "le",       "<=",
    "gt",       ">",         "greaterthan", "ge",          ">=",      "in",       "iterable", "sequence",
    "callable", "odd",       "even",        "divisibleby", "lower",   "upper"};

// A test that compares with one argument; value says how it came out.
bool compare(std::string_view name, const Value& a, const Value& b) {
  if (name == "eq" || name == "==" || name == "equalto") return equal(a, b);
  if (name == "ne" || name == "!=") return !equal(a, b);
  if (name == "lt" || name == "<" || name == "lessthan") return less(a, b);
  if (name == "gt" || name == ">" || name == "greaterthan") return less(b, a);
  if (name == "le" || name == "<=") return !less(b, a);
  if (name == "ge" || name == ">=") return !less(a, b);
  if (name == "in") return contains(b, a);
  const Value remainder = [&] {
    Budget budget;
    return binary("%", a, b, budget);
  }();
  return remainder.as_double() == 0;  // divisibleby
}

bool parity(const Value& value, bool odd) {
  if (!value.is_integer() && !value.is_bool())
    fail("odd and even need an integer, got a {}", value.type_name());
  return (value.as_int() % 2 != 0) == odd;
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_list() ||
         (value.is_dict() && !value.dict_ref().is_namespace);
}

}  // namespace

bool is_test(std::string_view name) { return std::find(kTests.begin(), kTests.end(), name) != kTests.end(); }

bool call_test(std::string_view name, const Value& value, const Arguments& arguments) {
  constexpr std::string_view kBinary[] = {"eq",          "==",       "equalto", "ne", "!=",         "lt",
                                          "<",           "lessthan", "le",      "<=", "gt",         ">",
                                          "greaterthan", "ge",       ">=",      "in", "divisibleby"};
  if (std::find(std::begin(kBinary), std::end(kBinary), name) != std::end(kBinary)) {
    return compare(name, value, BoundArguments(name, arguments, {"other"}).need(0));
  }
  BoundArguments(name, arguments, {});
  if (name == "defined") return !value.is_undefined();
  if (name == "undefined") return value.is_undefined();
  if (name == "none" || name == "None") return value.is_none();
  if (name == "boolean") return value.is_bool();
  if (name == "true" || name == "True") return value.is_bool() && value.truthy();
  if (name == "false" || name == "False") return value.is_bool() && !value.truthy();
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is_dict() && !value.dict_ref().is_namespace;
  if (name == "number") return value.is_number();
  if (name == "integer") return value.is_integer();
  if (name == "float") return value.is_float();
  if (name == "iterable" || name == "sequence") return is_iterable(value);
  if (name == "callable") return value.is_callable();
  if (name == "odd" || name == "even") return parity(value, name == "odd");
  const std::string text = value.str();
  const std::string same = name == "lower" ? to_lower(text) : to_upper(text);
  const std::string other = name == "lower" ? to_upper(text) : to_lower(text);
  return text == same && text != other;  // some character has a case
}

}  // namespace latent8::jinja
