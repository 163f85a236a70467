#include <algorithm>
#include <cmath>

#include "base/printable.h"
#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

constexpr std::string_view kComparisons[] = {
    "eq", "==", "equalto", "ne", "!=", "lt", "<",           "lessthan",    "le",
    "<=", "gt", ">",       "ge", ">=", "in", "greaterthan", "divisibleby", "sameas"};
constexpr std::string_view kTests[] = {"defined",  "undefined", "none",   "boolean", "true",  "false",
                                       "string",   "mapping",   "number", "integer", "float", "iterable",
                                       "sequence", "callable",  "odd",    "even",    "lower", "upper",
                                       "escaped",  "filter",    "test"};

bool compare_by(std::string_view name, const Value& a, const Value& b) {
  if (name == "eq" || name == "==" || name == "equalto") return equal(a, b);
  if (name == "ne" || name == "!=") return !equal(a, b);
  if (name == "lt" || name == "lessthan") return compare("<", a, b);
  if (name == "gt" || name == "greaterthan") return compare(">", a, b);
  if (name == "le") return compare("<=", a, b);
  if (name == "ge") return compare(">=", a, b);
  if (name == "in") return contains(b, a);
  if (name == "sameas") return a.same_as(b);
  if (name == "divisibleby") return equal(binary("%", a, b), Value(std::int64_t{0}));
  return compare(name, a, b);
}

bool parity(const Value& value, bool odd) {
  const Value rest = binary("%", value, Value(std::int64_t{2}));
  return equal(rest, Value(std::int64_t{odd ? 1 : 0}));
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_sequence() || value.is_dict() ||
         value.loop_if() != nullptr;
}

// What has a length and items by number or key.
bool has_items(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_list() || value.is_tuple() ||
         value.is_kind(SequenceKind::kRange) || value.is_dict();
}

}  // namespace

bool is_test(std::string_view name) { return among(kComparisons, name) || among(kTests, name); }

bool call_test(std::string_view name, const Value& value, const Arguments& arguments) {
  if (among(kComparisons, name))
    return compare_by(name, value, BoundArguments(name, arguments, {"other"}).need(0));
  if (!among(kTests, name))
    throw_error(ErrorCode::kUnsupported, "the test '{}' is not supported", printable(name));
  const BoundArguments bound(name, arguments, {});
  if (name == "defined") return !value.is_undefined();
  if (name == "undefined") return value.is_undefined();
  if (name == "none") return value.is_none();
  if (name == "boolean") return value.is_bool();
  if (name == "true") return value.is_bool() && value.truthy();
  if (name == "false") return value.is_bool() && !value.truthy();
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is_dict();
  if (name == "number") return value.is_number();
  if (name == "integer") return value.is_integer();
  if (name == "float") return value.is_float();
  if (name == "iterable") return is_iterable(value);
  if (name == "sequence") return has_items(value);
  if (name == "callable") return value.callable_if() != nullptr || value.is_undefined();
  if (name == "odd" || name == "even") return parity(value, name == "odd");
  if (name == "escaped") return false;
  if (name == "filter") return value.is_string() && is_filter(value.string());
  if (name == "test") return value.is_string() && is_test(value.string());
  return call_string_method(Value(value.str()), name == "lower" ? "islower" : "isupper", {}).truthy();
}

}  // namespace latent8::jinja
