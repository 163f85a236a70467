// Filters that make numbers or show them.

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

constexpr std::string_view kNumberFilters[] = {"int", "float", "abs", "round", "filesizeformat"};

// Digits as from_chars reads them: without white space, a plus, or an underscore between two digits.
std::optional<std::string> plain_number(std::string_view text) {
  text = strip(text);
  if (text.size() > 4096) return std::nullopt;
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto alnum = [&](std::size_t at) {
      return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
    };
    if (text[i] == '_' && i > 0 && alnum(i - 1) && alnum(i + 1)) continue;
    out += text[i];
  }
  return out;
}

Value truncate_float(double value, const Value& fallback) {
  constexpr double kLimit = 9.2e18;  // below 2^63
  return std::abs(value) < kLimit ? Value(static_cast<std::int64_t>(value)) : fallback;
}

Value to_int(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("int", arguments, {"default", "base"});
  const Value fallback = bound[0] != nullptr ? *bound[0] : Value(std::int64_t{0});
  refuse_undefined(value);
  if (value.is_float()) return truncate_float(value.as_double(), fallback);
  if (value.is_number()) return Value(value.as_int());
  if (!value.is_string()) return fallback;
  const auto base = static_cast<int>(std::clamp<std::int64_t>(bound.integer(1, 10), 0, 36));
  if (const auto number = parse_integer(value.string(), base)) return Value(*number);
  const auto real = parse_float(value.string());
  return real ? truncate_float(*real, fallback) : fallback;
}

Value to_float(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("float", arguments, {"default"});
  refuse_undefined(value);
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
  const std::string_view method = bound.text(1, "common");
  refuse_undefined(value);
  if (!value.is_number()) fail("round: a number expected, got a {}", value.type_name());
  if (method == "common") {
    if (!value.is_float() && precision >= 0) return Value(value.as_int());
    const double rounded =
        std::isfinite(value.as_double()) ? round_decimal(value.as_double(), precision) : value.as_double();
    return value.is_float() ? Value(rounded) : truncate_float(rounded, value);
  }
  if (method != "ceil" && method != "floor") fail("round: method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.as_double() * scale;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value absolute(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("abs", arguments, {});
  refuse_undefined(value);
  if (!value.is_number()) fail("abs: a number expected, got a {}", value.type_name());
  if (value.is_float()) return Value(std::abs(value.as_double()));
  return value.as_int() < 0 ? negate(value) : Value(value.as_int());
}

Value file_size(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("filesizeformat", arguments, {"binary"});
  const bool binary = bound.truth(0, false);
  const auto parsed = value.is_number()   ? std::optional(value.as_double())
                      : value.is_string() ? parse_float(value.string())
                                          : std::nullopt;
  if (!parsed || !std::isfinite(*parsed))
    fail("filesizeformat: a number expected, got a {}", value.type_name());
  const double base = binary ? 1024 : 1000;
  if (*parsed == 1) return Value("1 Byte");
  if (*parsed < base) return Value(fmt::format("{:.0f} Bytes", std::trunc(*parsed)));
  double unit = base;
  std::size_t prefix = 0;
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  while (*parsed >= unit * base && prefix + 1 < kPrefixes.size()) {
    unit *= base;
    ++prefix;
  }
  const char letter = binary && prefix == 0 ? 'K' : kPrefixes[prefix];
  return Value(fmt::format("{:.1f} {}{}", *parsed / unit, letter, binary ? "iB" : "B"));
}

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text, int base) {
  auto plain = plain_number(text);
  if (!plain || base == 1) return std::nullopt;
  const bool negative = plain->starts_with('-');
  std::string digits = plain->substr(negative ? 1 : 0);
  if (digits.size() > 2 && digits[0] == '0') {
    const int marked = (digits[1] | 0x20) == 'x'
                           ? 16
                           : ((digits[1] | 0x20) == 'o' ? 8 : ((digits[1] | 0x20) == 'b' ? 2 : 0));
    if (marked != 0 && (base == marked || base == 0)) {
      digits.erase(0, 2);
      base = marked;
    }
  }
  std::int64_t number = 0;
  const std::string signed_digits = (negative ? "-" : "") + digits;
  if (digits.empty() || digits[0] == '-') return std::nullopt;
  const char* end = signed_digits.data() + signed_digits.size();
  const auto result = std::from_chars(signed_digits.data(), end, number, base == 0 ? 10 : base);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return number;
}

std::optional<double> parse_float(std::string_view text) {
  const auto plain = plain_number(text);
  if (!plain) return std::nullopt;
  double value = 0;
  const char* end = plain->data() + plain->size();
  const auto result = std::from_chars(plain->data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

bool is_number_filter(std::string_view name) { return among(kNumberFilters, name); }

std::optional<Value> call_number_filter(std::string_view name, const Value& value,
                                        const Arguments& arguments) {
  if (name == "int") return to_int(value, arguments);
  if (name == "float") return to_float(value, arguments);
  if (name == "abs") return absolute(value, arguments);
  if (name == "round") return round(value, arguments);
  if (name == "filesizeformat") return file_size(value, arguments);
  return std::nullopt;
}

}  // namespace latent8::jinja
