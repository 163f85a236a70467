// The % operator of strings.

#include <algorithm>
#include <cmath>

#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

constexpr int kMaxWidth = 4096;

struct Directive {
  bool left = false;
  bool zero = false;
  int width = 0;
  int precision = -1;
  char kind = 's';
};

int read_number(const std::string& text, std::size_t& at) {
  int number = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    number = number * 10 + (text[at++] - '0');
    if (number > kMaxWidth) fail("'{}': a width above {}", text, kMaxWidth);
  }
  return number;
}

Directive read_directive(const std::string& text, std::size_t& at) {
  Directive directive;
  for (; at < text.size() && (text[at] == '-' || text[at] == '0'); ++at) {
    (text[at] == '-' ? directive.left : directive.zero) = true;
  }
  directive.width = read_number(text, at);
  if (at < text.size() && text[at] == '.') directive.precision = read_number(text, ++at);
  if (at == text.size()) fail("'{}': an incomplete format", text);
  directive.kind = text[at++];
  return directive;
}

std::string format_one(const Directive& directive, const Value& value) {
  const char kind = directive.kind;
  if (kind == 's' || kind == 'r') {
    std::string text = kind == 's' ? value.str() : value.repr();
    if (directive.precision < 0) return text;
    const std::u32string points = to_code_points(text);
    return from_code_points(
        std::u32string_view(points).substr(0, static_cast<std::size_t>(directive.precision)));
  }
  if (!value.is_number()) fail("%{} needs a number, got a {}", kind, value.type_name());
  if (kind == 'f')
    return fmt::format("{:.{}f}", value.as_double(), directive.precision < 0 ? 6 : directive.precision);
  if (kind == 'd' || kind == 'i') {
    return value.is_float() ? fmt::format("{:.0f}", std::trunc(value.as_double()))
                            : fmt::format("{}", value.as_int());
  }
  if (kind == 'x' && !value.is_float()) return fmt::format("{:x}", value.as_int());
  throw_error(ErrorCode::kUnsupported, "the format %{} is not supported (%s, %r, %d, %i, %f, %x are)", kind);
}

std::string pad(std::string text, const Directive& directive) {
  const std::size_t length = to_code_points(text).size();
  const auto width = static_cast<std::size_t>(directive.width);
  if (length >= width) return text;
  const bool number = directive.kind != 's' && directive.kind != 'r';
  if (directive.left) return text + std::string(width - length, ' ');
  if (!directive.zero || !number) return std::string(width - length, ' ') + text;
  return text.insert(text[0] == '-' ? 1 : 0, std::string(width - length, '0'));
}

}  // namespace

std::string percent_format(const std::string& text, const Value& arguments) {
  const std::vector<Value> values = arguments.is_list() && arguments.list().is_tuple
                                        ? arguments.list().items
                                        : std::vector<Value>{arguments};
  std::size_t used = 0;
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at++];
    if (c != '%') {
      out += c;
      continue;
    }
    const Directive directive = read_directive(text, at);
    if (directive.kind == '%') {
      out += '%';
      continue;
    }
    if (used == values.size()) fail("'{}': not enough arguments for the format", text);
    out += pad(format_one(directive, values[used++]), directive);
  }
  if (used < values.size() && !arguments.is_dict()) fail("'{}': not all arguments were used", text);
  return out;
}

}  // namespace latent8::jinja
