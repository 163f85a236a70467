#include "text/jinja/strings.h"

#include <algorithm>

#include "base/printable.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

constexpr std::size_t kNowhere = std::string_view::npos;

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

std::string_view last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && continues(text[at])) --at;
  return text.substr(at);
}

template <class Drop>
std::string_view strip_if(std::string_view text, bool left, bool right, Drop drop) {
  const std::size_t before = text.size();
  while (left && !text.empty()) {
    const Utf8Step front = utf8_front(text);
    if (!drop(front.code_point)) break;
    text.remove_prefix(front.length);
  }
  while (right && !text.empty()) {
    const std::string_view last = last_character(text);
    if (!drop(utf8_front(last).code_point)) break;
    text.remove_suffix(last.size());
  }
  step((before - text.size()) / 16);
  return text;
}

bool ends_line(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool more_splits(const Vector<Value>& parts, std::int64_t max_splits) {
  return max_splits < 0 || static_cast<std::int64_t>(parts.size()) < max_splits;
}

// Bytes until white space, or all.
std::size_t word_length(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size()) {
    const Utf8Step front = utf8_front(text.substr(end));
    if (is_python_space(front.code_point)) break;
    end += front.length;
  }
  return end;
}

std::size_t last_word_length(std::string_view text) {
  const std::size_t size = text.size();
  while (!text.empty()) {
    const std::string_view last = last_character(text);
    if (is_python_space(utf8_front(last).code_point)) break;
    text.remove_suffix(last.size());
  }
  return size - text.size();
}

}  // namespace

void append(String& out, std::string_view text) { out.append(text.data(), text.size()); }

void append_character(String& out, char32_t c) {
  std::string bytes;
  append_utf8(bytes, c);
  append(out, bytes);
}

std::size_t count_characters(std::string_view text) {
  step(text.size() / 64);
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), continues));
}

std::size_t checked_width(std::int64_t width) {
  constexpr std::int64_t kMostCharacters = std::int64_t{1} << 30;
  if (width > kMostCharacters) fail("a width of {} characters", width);
  return static_cast<std::size_t>(std::max<std::int64_t>(width, 0));
}

std::string_view strip_left(std::string_view text) { return strip_if(text, true, false, is_python_space); }
std::string_view strip_right(std::string_view text) { return strip_if(text, false, true, is_python_space); }
std::string_view strip(std::string_view text) { return strip_if(text, true, true, is_python_space); }

std::string_view strip_characters(std::string_view text, std::string_view characters, bool left, bool right) {
  CodePoints set;
  for (std::string_view rest = characters; !rest.empty(); rest.remove_prefix(utf8_front(rest).length))
    set.push_back(utf8_front(rest).code_point);
  std::sort(set.begin(), set.end());
  return strip_if(text, left, right,
                  [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
}

Vector<Value> split_space(std::string_view text, std::int64_t max_splits) {
  step(text.size() / 8);
  Vector<Value> parts;
  text = strip_left(text);
  while (!text.empty()) {
    if (!more_splits(parts, max_splits)) {
      parts.emplace_back(text);
      break;
    }
    const std::size_t length = word_length(text);
    parts.emplace_back(text.substr(0, length));
    text = strip_left(text.substr(length));
  }
  return parts;
}

Vector<Value> split_space_from_right(std::string_view text, std::int64_t max_splits) {
  step(text.size() / 8);
  Vector<Value> parts;
  text = strip_right(text);
  while (!text.empty()) {
    if (!more_splits(parts, max_splits)) {
      parts.emplace_back(text);
      break;
    }
    const std::size_t length = last_word_length(text);
    parts.emplace_back(text.substr(text.size() - length));
    text = strip_right(text.substr(0, text.size() - length));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Vector<Value> split_by(std::string_view text, std::string_view separator, std::int64_t max_splits) {
  if (separator.empty()) fail("split: the separator is empty");
  Vector<Value> parts;
  std::size_t at = 0;
  while (more_splits(parts, max_splits)) {
    const std::size_t found = find_text(text, separator, at);
    if (found == kNowhere) break;
    parts.emplace_back(text.substr(at, found - at));
    at = found + separator.size();
  }
  parts.emplace_back(text.substr(at));
  return parts;
}

Vector<Value> split_by_from_right(std::string_view text, std::string_view separator,
                                  std::int64_t max_splits) {
  if (separator.empty()) fail("rsplit: the separator is empty");
  Vector<Value> parts;
  while (more_splits(parts, max_splits)) {
    const std::size_t found = find_last_text(text, separator);
    if (found == kNowhere) break;
    parts.emplace_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  parts.emplace_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Vector<Value> split_lines(std::string_view text, bool keep_ends) {
  step(text.size() / 8);
  Vector<Value> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step front = utf8_front(text.substr(at));
    const std::size_t end = at;
    at += front.length;
    if (!ends_line(front.code_point)) continue;
    if (front.code_point == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

// Knuth, Morris and Pratt: linear whatever text and part are, unlike std::string_view::find.
std::size_t find_text(std::string_view text, std::string_view part, std::size_t from) {
  if (part.empty() || part.size() > text.size() - from) return part.empty() ? from : kNowhere;
  if (part.size() == 1) {
    const std::size_t found = text.find(part[0], from);
    step(((found == kNowhere ? text.size() : found) - from) / 64);
    return found;
  }
  Vector<std::uint32_t> border(part.size(), 0);
  step(part.size() / 8);
  for (std::size_t i = 1, k = 0; i < part.size(); ++i) {
    while (k > 0 && part[i] != part[k]) k = border[k - 1];
    if (part[i] == part[k]) ++k;
    border[i] = static_cast<std::uint32_t>(k);
  }
  std::size_t at = from;
  std::size_t matched = 0;
  for (; at < text.size() && matched < part.size(); ++at) {
    while (matched > 0 && text[at] != part[matched]) matched = border[matched - 1];
    if (text[at] == part[matched]) ++matched;
  }
  step((at - from) / 8);
  return matched == part.size() ? at - part.size() : kNowhere;
}

std::size_t find_last_text(std::string_view text, std::string_view part) {
  if (part.empty()) return text.size();
  if (part.size() > text.size()) return kNowhere;
  // Each place is counted with what it may cost: where both repeat themselves the search is quadratic.
  for (std::size_t at = text.size() - part.size() + 1; at-- > 0;) {
    if (text[at] != part[0]) {
      if (at % 64 == 0) step();
      continue;
    }
    const auto same = std::mismatch(part.begin(), part.end(), text.begin() + static_cast<std::ptrdiff_t>(at));
    step(1 + static_cast<std::size_t>(same.first - part.begin()) / 16);
    if (same.first == part.end()) return at;
  }
  return kNowhere;
}

std::int64_t count_text(std::string_view text, std::string_view part) {
  if (part.empty()) return static_cast<std::int64_t>(count_characters(text)) + 1;
  std::int64_t count = 0;
  for (std::size_t at = find_text(text, part); at != kNowhere; at = find_text(text, part, at + part.size()))
    ++count;
  return count;
}

String replace_all(std::string_view text, std::string_view from, std::string_view to, std::int64_t count) {
  String out;
  if (from.empty()) {
    step(text.size() / 4);
    for (; !text.empty() && count != 0; --count) {
      const std::size_t length = utf8_front(text).length;
      append(out, to);
      append(out, text.substr(0, length));
      text.remove_prefix(length);
    }
    append(out, count != 0 ? to : text);
    return out;
  }
  std::size_t at = 0;
  for (; count != 0; --count) {
    const std::size_t found = find_text(text, from, at);
    if (found == kNowhere) break;
    append(out, text.substr(at, found - at));
    append(out, to);
    at = found + from.size();
  }
  append(out, text.substr(at));
  return out;
}

String repeat_text(std::string_view text, std::size_t times) {
  String out;
  std::size_t total = 0;
  if (__builtin_mul_overflow(text.size(), times, &total)) fail("a repetition of {} times", times);
  reserve(out, total);
  step(total == 0 ? 0 : times / 8);
  for (std::size_t i = 0; i < times && total > 0; ++i) append(out, text);
  return out;
}

String pad(std::string_view text, std::int64_t width, char align, std::string_view fill) {
  const std::size_t length = count_characters(text);
  const std::size_t wanted = checked_width(width);
  if (count_characters(fill) != 1) fail("the fill character must be exactly one character long");
  const std::size_t missing = wanted > length ? wanted - length : 0;
  std::size_t left = align == '<' ? 0 : missing;
  if (align == '^') left = missing / 2 + (missing & wanted & 1);
  String out = repeat_text(fill, left);
  append(out, text);
  append(out, repeat_text(fill, missing - left));
  return out;
}

namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

// Reads up to max_digits digits of base at `at`; exact: all of them must be there.
char32_t read_code_point(std::string_view literal, std::size_t& at, int base, int max_digits, bool exact) {
  char32_t code_point = 0;
  int digits = 0;
  while (digits < max_digits && at < literal.size() && digit_value(literal[at]) < base) {
    code_point = code_point * static_cast<char32_t>(base) + static_cast<char32_t>(digit_value(literal[at++]));
    ++digits;
  }
  if ((exact && digits < max_digits) || code_point > 0x10FFFF ||
      (code_point >= 0xD800 && code_point < 0xE000)) {
    fail("string '{}': an escape is not a character", printable(literal));
  }
  return code_point;
}

}  // namespace

std::string unescape(std::string_view literal) {
  constexpr std::string_view kNames = "\\'\"abfnrtv";
  constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  std::string out;
  for (std::size_t at = 0; at < literal.size();) {
    const char c = literal[at++];
    if (c != '\\' || at == literal.size()) {
      out += c;
      continue;
    }
    const char kind = literal[at++];
    const std::size_t named = kNames.find(kind);
    if (named != std::string_view::npos) {
      out += kMeanings[named];
    } else if (kind == 'x' || kind == 'u' || kind == 'U') {
      append_utf8(out, read_code_point(literal, at, 16, kind == 'x' ? 2 : (kind == 'u' ? 4 : 8), true));
    } else if (kind >= '0' && kind <= '7') {
      --at;
      append_utf8(out, read_code_point(literal, at, 8, 3, false));
    } else if (kind != '\n') {  // an escaped newline joins lines
      out += '\\';
      out += kind;
    }
  }
  return out;
}

}  // namespace latent8::jinja
