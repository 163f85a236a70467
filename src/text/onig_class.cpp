#include "text/onig_class.h"

#include "base/error.h"

namespace latent8 {
namespace {

constexpr int kMaxDepth = 50;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

CharClass OnigClassReader::bracket() {
  if (++depth_ > kMaxDepth) in_.refuse("classes nested deeper than 50");
  in_.next();
  const bool negated = in_.skip("^");
  if (!in_.done() && in_.front() == ']') in_.refuse("']' as the first member of a class");
  std::optional<CharClass> intersection;  // of what stands before the last &&
  CharClass members;
  bool any = false;
  const auto close_operand = [&] {
    if (!any) in_.refuse("'&&' without a class on both sides");
    intersection = intersection ? algebra_.intersect(*intersection, members) : members;
    members = {};
    any = false;
  };
  while (!in_.skip("]")) {
    if (in_.done()) in_.corrupt("a '[' is never closed");
    if (in_.skip("&&")) {
      close_operand();
      continue;
    }
    std::optional<CharClass> part;
    if (in_.front() == '[') {
      part = posix();
      if (!part) part = bracket();
    } else if (in_.front() == '\\') {
      part = class_escape();
    }
    if (!part) {
      range_or_character(members);
    } else {
      members = any ? algebra_.unite(members, *part) : *part;
    }
    any = true;
  }
  if (intersection) {
    close_operand();
    members = *intersection;
  }
  --depth_;
  if (negated) members.negated = !members.negated;
  return members;
}

std::optional<CharClass> OnigClassReader::posix() {
  const std::string_view rest = in_.rest();
  if (!rest.starts_with("[:")) return std::nullopt;
  const std::size_t end = rest.find(":]");
  if (end == std::string_view::npos || end > 20) return std::nullopt;
  std::string_view name = rest.substr(2, end - 2);
  const bool negated = name.starts_with('^');
  if (negated) name.remove_prefix(1);
  std::optional<CharClass> found = posix_bracket(name);
  if (!found) in_.refuse(fmt::format("the POSIX bracket '{}'", rest.substr(0, end + 2)));
  in_.skip(rest.substr(0, end + 2));
  if (negated) found->negated = !found->negated;
  return found;
}

void OnigClassReader::range_or_character(CharClass& members) {
  const char32_t first = member();
  char32_t last = first;
  const char after = in_.peek(1);
  if (!in_.done() && in_.front() == '-' && after != ']' && after != '[' && after != '\0' &&
      !in_.rest().starts_with("-&&")) {
    in_.next();
    if (class_escape()) in_.refuse("a range that ends in a class");
    last = member();
    if (last < first) in_.corrupt("a range that ends before it begins");
  }
  members = algebra_.unite(members, {class_member({first, last}), false});
}

char32_t OnigClassReader::member() {
  if (in_.front() != '\\') return in_.next_code_point();
  if (in_.peek(1) == 'b') {
    in_.skip("\\b");
    return 0x08;
  }
  return character_escape();
}

std::optional<CharClass> OnigClassReader::class_escape() {
  if (in_.done() || in_.front() != '\\') return std::nullopt;
  const char c = in_.peek(1);
  if (c == 'p' || c == 'P') return property();
  CharClass found;
  switch (c | 0x20) {
    case 's':
      found = space_class();
      break;
    case 'w':
      found = word_class();
      break;
    case 'd':
      found = digit_class();
      break;
    case 'h':
      found = hex_digit_class();
      break;
    default:
      return std::nullopt;
  }
  if (c < 'a') found.negated = !found.negated;
  in_.skip(in_.rest().substr(0, 2));
  return found;
}

CharClass OnigClassReader::property() {
  const std::string_view rest = in_.rest();
  const std::size_t close = rest.find('}');
  if (rest.size() < 3 || rest[2] != '{' || close == std::string_view::npos)
    in_.corrupt("'{name}' expected after \\p");
  std::string_view name = rest.substr(3, close - 3);
  const bool caret = name.starts_with('^');
  if (caret) name.remove_prefix(1);
  std::optional<CharClass> found = unicode_property(name);
  if (!found) in_.refuse(fmt::format("the property '{}'", name.substr(0, 40)));
  if (caret != (rest[1] == 'P')) found->negated = !found->negated;
  in_.skip(rest.substr(0, close + 1));
  return *found;
}

char32_t OnigClassReader::character_escape() {
  in_.next();
  if (in_.done()) in_.corrupt("a backslash ends the pattern");
  const char c = in_.front();
  const auto is = [&](char32_t code_point) {
    in_.next();
    return code_point;
  };
  switch (c) {
    case 't':
      return is('\t');
    case 'n':
      return is('\n');
    case 'r':
      return is('\r');
    case 'f':
      return is('\f');
    case 'v':
      return is('\v');  // a tab, not PCRE2's class
    case 'a':
      return is(0x07);
    case 'e':
      return is(0x1B);
    default:
      break;
  }
  if (in_.skip("x{")) {
    const char32_t code_point = hex(1, 8);
    if (!in_.skip("}")) in_.corrupt("'}' expected");
    return code_point;
  }
  if (in_.skip("x")) {
    const char32_t code_point = hex(1, 2);
    if (code_point > 0x7F) in_.refuse("a byte of a character (\\x80 to \\xff)");
    return code_point;
  }
  if (in_.skip("u")) return hex(4, 4);
  const bool is_letter_or_digit = hex_value(c) >= 0 || (c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z');
  if (is_letter_or_digit) in_.refuse(fmt::format("the escape '\\{}'", c));
  return in_.next_code_point();
}

char32_t OnigClassReader::hex(std::size_t least, std::size_t most) {
  char32_t value = 0;
  std::size_t digits = 0;
  for (; digits < most && !in_.done() && hex_value(in_.front()) >= 0; ++digits) {
    value = value * 16 + static_cast<char32_t>(hex_value(in_.front()));
    in_.next();
  }
  if (digits < least) in_.corrupt(fmt::format("{} hexadecimal digits expected", least));
  if (value > kLastCodePoint || (value >= 0xD800 && value < 0xE000))
    in_.corrupt("no character has this code");
  return value;
}

}  // namespace latent8
