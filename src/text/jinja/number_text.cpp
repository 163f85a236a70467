#include "text/jinja/number_text.h"

#include <cctype>
#include <cmath>

#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

constexpr int kMostDigits = 1000;

std::string magnitude_of_integer(std::int64_t value, const NumberStyle& style) {
  const std::uint64_t size =
      value < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  switch (style.type) {
    case 'x':
      return (style.alternate ? "0x" : "") + fmt::format("{:x}", size);
    case 'X':
      return (style.alternate ? "0X" : "") + fmt::format("{:X}", size);
    case 'o':
      return (style.alternate ? "0o" : "") + fmt::format("{:o}", size);
    case 'b':
      return (style.alternate ? "0b" : "") + fmt::format("{:b}", size);
    default:
      return fmt::format("{}", size);
  }
}

std::string magnitude_of_real(double value, const NumberStyle& style) {
  const double size = std::abs(value);
  if (!std::isfinite(value)) {
    const bool capital = std::isupper(static_cast<unsigned char>(style.type)) != 0;
    const std::string name = std::isnan(value) ? "nan" : "inf";
    return capital ? (std::isnan(value) ? "NAN" : "INF") : name + (style.type == '%' ? "%" : "");
  }
  const int precision = style.precision < 0 ? 6 : style.precision;
  switch (style.type) {
    case 'e':
      return fmt::format("{:.{}e}", size, precision);
    case 'E':
      return fmt::format("{:.{}E}", size, precision);
    case 'g':
    case 'n':
      return fmt::format("{:.{}g}", size, precision);
    case 'G':
      return fmt::format("{:.{}G}", size, precision);
    case '%':
      return fmt::format("{:.{}f}%", size * 100, precision);
    default:
      return fmt::format("{:.{}f}", size, precision);
  }
}

std::string grouped(const std::string& number, char separator) {
  std::size_t digits = 0;
  while (digits < number.size() && std::isdigit(static_cast<unsigned char>(number[digits])) != 0) ++digits;
  std::string out;
  for (std::size_t i = 0; i < digits; ++i) {
    if (i > 0 && (digits - i) % 3 == 0) out += separator;
    out += number[i];
  }
  return out + number.substr(digits);
}

}  // namespace

std::string number_text(const Value& value, const NumberStyle& style) {
  if (!value.is_number()) fail("format: a number expected for '{}', got a {}", style.type, value.type_name());
  if (style.precision > kMostDigits) fail("format: a precision of {} digits", style.precision);
  const bool real = std::string_view("fFeEgG%n").find(style.type) != std::string_view::npos;
  if (!real && value.is_float()) fail("format: an integer expected for '{}', got a float", style.type);
  const bool negative = real ? std::signbit(value.as_double()) : value.as_int() < 0;
  std::string number =
      real ? magnitude_of_real(value.as_double(), style) : magnitude_of_integer(value.as_int(), style);
  if (style.group != 0) number = grouped(number, style.group);
  return (negative ? "-" : (style.sign == "-" ? "" : style.sign)) + number;
}

String zero_padded(std::string_view number, std::int64_t width) {
  std::size_t head =
      !number.empty() && std::string_view("+- ").find(number[0]) != std::string_view::npos ? 1 : 0;
  if (number.size() > head + 1 && number[head] == '0' &&
      std::isalpha(static_cast<unsigned char>(number[head + 1])) != 0)
    head += 2;
  String out(number.substr(0, head));
  append(out, pad(number.substr(head), width - static_cast<std::int64_t>(head), '>', "0"));
  return out;
}

}  // namespace latent8::jinja
