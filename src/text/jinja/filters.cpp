// Filters by name: which kind they are of, and what works on any value.

#include "base/printable.h"
#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

constexpr std::string_view kCoreFilters[] = {"default", "d", "tojson", "length", "count", "attr"};

Value to_json(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.truth(0, false);
  style.sort_keys = bound.truth(3, false);
  if (bound.has(1)) {
    style.pretty = true;
    style.item_separator = ",";
    style.indent =
        bound[1]->is_string() ? bound[1]->string() : repeat_text(" ", checked_width(bound.integer(1, 0)));
  }
  if (bound.has(2)) {
    const Vector<Value> pair = iterate(*bound[2]);
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      fail("tojson: two separators expected");
    style.item_separator = pair[0].string();
    style.key_separator = pair[1].string();
  }
  return Value(dump_json(value, style));
}

Value default_value(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("default", arguments, {"default_value", "boolean"});
  const bool replaced = value.is_undefined() || (bound.truth(1, false) && !value.truthy());
  if (!replaced) return value;
  return bound[0] != nullptr ? *bound[0] : Value("");
}

// Like object.name, but an item of that name does not count.
Value attribute(const Value& value, const Arguments& arguments) {
  const std::string_view name = BoundArguments("attr", arguments, {"name"}).need_text(0);
  if (!value.is_dict() || method_of(value, name) != MethodKind::kMissing) return get_attribute(value, name);
  return Value::undefined(fmt::format("'dict object' has no attribute '{}'", printable(name)));
}

}  // namespace

bool is_filter(std::string_view name) {
  return among(kCoreFilters, name) || is_text_filter(name) || is_number_filter(name) ||
         is_sequence_filter(name) || is_choice_filter(name);
}

Value call_filter(std::string_view name, const Value& value, const Arguments& arguments) {
  const Budget::Nesting nesting;  // map calls filters
  if (name == "default" || name == "d") return default_value(value, arguments);
  if (name == "tojson") return to_json(value, arguments);
  if (name == "attr") return attribute(value, arguments);
  if (name == "length" || name == "count") {
    const BoundArguments bound(name, arguments, {});
    return Value(length(value));
  }
  if (auto result = call_text_filter(name, value, arguments)) return *std::move(result);
  if (auto result = call_number_filter(name, value, arguments)) return *std::move(result);
  if (auto result = call_sequence_filter(name, value, arguments)) return *std::move(result);
  if (auto result = call_choice_filter(name, value, arguments)) return *std::move(result);
  throw_error(ErrorCode::kUnsupported, "the filter '{}' is not supported", printable(name));
}

}  // namespace latent8::jinja
