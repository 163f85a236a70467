// str.format and the format specifications of Python.

#include <algorithm>

#include "base/printable.h"
#include "text/jinja/functions.h"
#include "text/jinja/number_text.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

constexpr std::size_t kNowhere = std::string_view::npos;

bool is_number(std::string_view text) {
  return !text.empty() && text.size() < 9 && text.find_first_not_of("0123456789") == kNowhere;
}

std::int64_t to_number(std::string_view digits) {
  std::int64_t value = 0;
  for (const char c : digits) value = value * 10 + (c - '0');
  return value;
}

// [[fill]align][sign][#][0][width][,][.precision][type]
struct Specification {
  std::string fill = " ";
  char align = 0;
  std::int64_t width = 0;
  NumberStyle style;
  char type = 0;
};

Specification parse_specification(std::string_view text) {
  Specification out;
  const std::string_view whole = text;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  const std::size_t first = text.empty() ? 0 : utf8_front(text).length;
  if (text.size() > first && is_align(text[first])) {
    out.fill = text.substr(0, first);
    out.align = text[first];
    text.remove_prefix(first + 1);
  } else if (!text.empty() && is_align(text[0])) {
    out.align = text[0];
    text.remove_prefix(1);
  }
  const auto skip = [&](std::string_view any) {
    if (text.empty() || any.find(text[0]) == kNowhere) return char{0};
    const char c = text[0];
    text.remove_prefix(1);
    return c;
  };
  const auto number = [&] {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits > 9) fail("format: '{}': a width of {} digits", printable(whole), digits);
    const std::int64_t value = to_number(text.substr(0, digits));
    text.remove_prefix(digits);
    return value;
  };
  if (const char sign = skip("+- ")) out.style.sign = sign;
  out.style.alternate = skip("#") != 0;
  if (skip("0") != 0 && out.align == 0) {
    out.align = '=';
    out.fill = "0";
  }
  out.width = number();
  out.style.group = skip(",_");
  if (skip(".") != 0) out.style.precision = static_cast<int>(number());
  out.type = skip("sdfFeEgGxXobcn%");
  if (!text.empty()) fail("format: '{}' is no format specification", printable(whole));
  return out;
}

String number_by(const Value& value, Specification& specification) {
  NumberStyle style = specification.style;
  style.type = specification.type;
  String out;
  if (style.type == 0 && value.is_float()) {
    if (style.precision >= 0) {
      style.type = 'g';
      append(out, number_text(value, style));
      return out;
    }
    out = value.repr();
    if (style.sign != "-" && !out.starts_with('-')) out.insert(0, style.sign.data(), 1);
    return out;
  }
  if (style.type == 0) style.type = 'd';
  append(out, number_text(value, style));
  return out;
}

class BraceFormatter {
 public:
  BraceFormatter(std::string_view text, const Arguments& arguments) : text_(text), arguments_(arguments) {}

  String run() { return run(text_, 0); }

 private:
  String run(std::string_view text, int depth) {
    String out;
    step(text.size() / 8);
    for (std::size_t at = 0; at < text.size(); ++at) {
      const char c = text[at];
      if (c != '{' && c != '}') {
        out += c;
      } else if (at + 1 < text.size() && text[at + 1] == c) {
        out += c;
        ++at;
      } else if (c == '}') {
        fail("format: a single '}}' in '{}'", printable(text));
      } else {
        const std::size_t close = closing(text, at);
        append(out, field(text.substr(at + 1, close - at - 1), depth));
        at = close;
      }
    }
    return out;
  }

  std::size_t closing(std::string_view text, std::size_t open) const {
    int depth = 0;
    for (std::size_t at = open; at < text.size(); ++at) {
      if (text[at] == '{') ++depth;
      if (text[at] == '}' && --depth == 0) return at;
    }
    fail("format: a '{{' is never closed in '{}'", printable(text));
  }

  // name!conversion:specification
  String field(std::string_view field, int depth) {
    if (depth > 1) fail("format: '{}' nests too deeply", printable(text_));
    const std::size_t colon = field.find(':');
    std::string_view name = field.substr(0, colon);
    char conversion = 0;
    if (const std::size_t mark = name.find('!'); mark != kNowhere) {
      if (mark + 2 != name.size() || std::string_view("rsa").find(name[mark + 1]) == kNowhere)
        fail("format: '{}' is no conversion", printable(name));
      conversion = name[mark + 1];
      name = name.substr(0, mark);
    }
    const Value value = find(name);
    String specification;
    if (colon != kNowhere) specification = run(field.substr(colon + 1), depth + 1);
    if (conversion == 0) return format_value(value, specification);
    return format_value(Value(conversion == 's' ? value.str() : value.repr()), specification);
  }

  // A number or a name, then .attributes and [items].
  Value find(std::string_view name) {
    const std::size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = first(name.substr(0, end));
    name.remove_prefix(end);
    while (!name.empty()) {
      step();
      if (name[0] == '.') {
        const std::size_t stop = std::min(name.find_first_of(".[", 1), name.size());
        value = get_attribute(value, name.substr(1, stop - 1));
        name.remove_prefix(stop);
      } else {
        const std::size_t close = name.find(']');
        if (name[0] != '[' || close == kNowhere) fail("format: '{}' is no field", printable(name));
        const std::string_view key = name.substr(1, close - 1);
        value = get_item(value, is_number(key) ? Value(to_number(key)) : Value(key));
        name.remove_prefix(close + 1);
      }
    }
    return value;
  }

  Value first(std::string_view name) {
    if (name.empty() || is_number(name)) {
      const auto index = name.empty() ? next_++ : static_cast<std::size_t>(to_number(name));
      if (index < arguments_.positional.size()) return arguments_.positional[index];
    } else {
      for (const auto& [keyword, value] : arguments_.keywords) {
        step();
        if (keyword == name) return value;
      }
    }
    fail("format: nothing to put into '{{{}}}'", printable(name));
  }

  std::string_view text_;
  const Arguments& arguments_;
  std::size_t next_ = 0;
};

}  // namespace

String format_value(const Value& value, std::string_view text) {
  if (text.empty()) return value.str();
  Specification specification = parse_specification(text);
  const bool as_number =
      value.is_number() && !(value.is_bool() && specification.type == 0) && specification.type != 's';
  if (!as_number) {
    if (!value.is_string() && !value.is_bool())
      fail("format: '{}' does not suit a {}", printable(text), value.type_name());
    if (specification.type != 0 && specification.type != 's')
      fail("format: '{}' does not suit a {}", printable(text), value.type_name());
    Text whole(value.is_bool() ? String(value.truthy() ? "1" : "0") : value.string());
    std::string_view shown = whole.bytes;
    if (const int most = specification.style.precision; most >= 0)
      shown = shown.substr(0, whole.byte_of(std::min(whole.characters, static_cast<std::size_t>(most))));
    const bool right = value.is_bool() && specification.align == 0;
    const char align =
        specification.align == 0 || specification.align == '=' ? (right ? '>' : '<') : specification.align;
    return pad(shown, specification.width, align, specification.fill);
  }
  const String number = number_by(value, specification);
  if (specification.align == '=' && specification.fill == "0")
    return zero_padded(number, specification.width);
  const char align = specification.align == 0 || specification.align == '=' ? '>' : specification.align;
  return pad(number, specification.width, align, specification.fill);
}

Value format_braces(std::string_view text, const Arguments& arguments) {
  return Value(BraceFormatter(text, arguments).run());
}

}  // namespace latent8::jinja
