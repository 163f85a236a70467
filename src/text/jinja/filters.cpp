#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

constexpr std::array<std::string_view, 19> kFilters = {
    "tojson",  "trim",   "upper", "lower", "capitalize", "title", "length", "count", "default", "d",
    "replace", "string", "int",   "float", "abs",        "round", "indent", "safe",  "format"};

std::string indent(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("indent", arguments, {"width", "first", "blank"});
  const bool by_text = bound[0] != nullptr && bound[0]->is_string();
  const std::int64_t width = by_text ? 0 : std::clamp<std::int64_t>(bound.integer(0, 4), 0, 4096);
  const std::string margin = by_text ? bound[0]->string() : std::string(static_cast<std::size_t>(width), ' ');
  const bool blank = bound.truth(2, false);
  const std::vector<std::string> lines = split_lines(text + "\n");
  budget.text(text.size() + lines.size() * margin.size());
  std::string out = bound.truth(1, false) ? margin : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += margin;
    out += lines[i];
  }
  return out;
}

std::optional<double> parse_float(const std::string& padded) {
  std::string text = strip(padded);
  if (text.starts_with('+')) text.erase(0, 1);
  double value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

Value truncate_float(double value, const Value& fallback) {
  constexpr double kLimit = 9.2e18;  // below 2^63
  return std::abs(value) < kLimit ? Value(static_cast<std::int64_t>(value)) : fallback;
}

Value to_int(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("int", arguments, {"default", "base"});
  const Value fallback = bound[0] != nullptr ? *bound[0] : Value(std::int64_t{0});
  if (value.is_float()) return truncate_float(value.as_double(), fallback);
  if (value.is_number()) return Value(value.as_int());
  if (!value.is_string()) return fallback;
  std::string text = strip(value.string());
  if (text.starts_with('+')) text.erase(0, 1);
  std::int64_t number = 0;
  const bool hexadecimal = bound.integer(1, 10) == 16 && (text.starts_with("0x") || text.starts_with("0X"));
  if (hexadecimal) text.erase(0, 2);
  const auto base = static_cast<int>(std::clamp<std::int64_t>(bound.integer(1, 10), 2, 36));
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return Value(number);
  const auto real = parse_float(text);
  return real ? truncate_float(*real, fallback) : fallback;
}

Value to_float(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("float", arguments, {"default"});
  if (value.is_number()) return Value(value.as_double());
  if (value.is_string()) {
    if (const auto real = parse_float(value.string())) return Value(*real);
  }
  return bound[0] != nullptr ? *bound[0] : Value(0.0);
}

// Python's round(): to the nearest decimal of the exact binary value, ties to even.
double round_decimal(double value, std::int64_t precision) {
  if (precision < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-precision));
    return std::nearbyint(value / scale) * scale;
  }
  const std::string text = fmt::format("{:.{}f}", value, precision);
  return parse_float(text).value_or(value);
}

Value round(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("round", arguments, {"precision", "method"});
  const std::int64_t precision = std::clamp<std::int64_t>(bound.integer(0, 0), -300, 300);
  const std::string method = bound.text(1, "common");
  if (!value.is_number()) fail("round: a number expected, got a {}", value.type_name());
  if (method == "common") {
    if (!value.is_float() && precision >= 0) return Value(value.as_int());
    const double rounded = round_decimal(value.as_double(), precision);
    return value.is_float() ? Value(rounded) : truncate_float(rounded, value);
  }
  if (method != "ceil" && method != "floor")
    fail("round: method must be common, ceil or floor, got '{}'", method);
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.as_double() * scale;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value absolute(const Value& value) {
  if (!value.is_number()) fail("abs: a number expected, got a {}", value.type_name());
  if (value.is_float()) return Value(std::abs(value.as_double()));
  Budget budget;
  return value.as_int() < 0 ? binary("-", Value(std::int64_t{0}), value, budget) : Value(value.as_int());
}

Value to_json(const Value& value, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.truth(0, false);
  style.sort_keys = bound.truth(3, false);
  if (const Value* level = bound[1]; level != nullptr && !level->is_none()) {
    style.pretty = true;
    style.item_separator = ",";
    style.indent =
        level->is_string()
            ? level->string()
            : std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(bound.integer(1, 0), 0, 64)),
                          ' ');
  }
  if (const Value* separators = bound[2]; separators != nullptr && !separators->is_none()) {
    const std::vector<Value> pair = iterate(*separators);
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      fail("tojson: two separators expected");
    style.item_separator = pair[0].string();
    style.key_separator = pair[1].string();
  }
  Value text(dump_json(value, style));
  budget.text(text.string().size());
  return text;
}

Value text_filter(std::string_view name, const Value& value, const Arguments& arguments, Budget& budget) {
  const std::string text = value.str();
  budget.text(text.size());
  if (name == "trim") {
    const BoundArguments bound(name, arguments, {"chars"});
    if (bound[0] == nullptr || bound[0]->is_none()) return Value(strip(text));
    return Value(strip_characters(text, bound.text(0, ""), true, true));
  }
  if (name == "indent") return Value(indent(text, arguments, budget));
  if (name == "replace") return call_method(Value(text), "replace", arguments, budget);
  BoundArguments(name, arguments, {});
  if (name == "upper") return Value(to_upper(text));
  if (name == "lower") return Value(to_lower(text));
  if (name == "capitalize") return Value(capitalize(text));
  if (name == "title") return Value(title_filter(text));
  return Value(text);  // string, safe
}

}  // namespace

bool is_filter(std::string_view name) {
  return std::find(kFilters.begin(), kFilters.end(), name) != kFilters.end() || is_sequence_filter(name);
}

Value call_filter(std::string_view name, const Value& value, const Arguments& arguments, Budget& budget) {
  if (name == "default" || name == "d") {
    const BoundArguments bound(name, arguments, {"default_value", "boolean"});
    const bool replaced = value.is_undefined() || (bound.truth(1, false) && !value.truthy());
    if (!replaced) return value;
    return bound[0] != nullptr ? *bound[0] : Value("");
  }
  if (name == "tojson") return to_json(value, arguments, budget);
  if (name == "int") return to_int(value, arguments);
  if (name == "float") return to_float(value, arguments);
  if (name == "round") return round(value, arguments);
  if (name == "format") return binary("%", Value(value.str()), Value::tuple(arguments.positional), budget);
  if (name == "length" || name == "count" || name == "abs") {
    BoundArguments(name, arguments, {});
    return name == "abs" ? absolute(value) : Value(length(value));
  }
  if (auto result = call_sequence_filter(name, value, arguments, budget)) return std::move(*result);
  return text_filter(name, value, arguments, budget);
}

}  // namespace latent8::jinja
