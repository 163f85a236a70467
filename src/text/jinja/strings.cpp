#include "text/jinja/strings.h"

#include <algorithm>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

template <class Drop>
std::string strip_if(std::string_view text, bool left, bool right, Drop drop) {
  const std::u32string points = to_code_points(text);
  std::size_t begin = 0;
  std::size_t end = points.size();
  while (left && begin < end && drop(points[begin])) ++begin;
  while (right && begin < end && drop(points[end - 1])) --end;
  return from_code_points(std::u32string_view(points).substr(begin, end - begin));
}

bool ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A character of more than one byte counts as a letter: right for the scripts that have case.
bool cased(std::string_view character) { return character.size() > 1 || ascii_letter(character[0]); }

char change_ascii(char c, bool upper) {
  if (!ascii_letter(c)) return c;
  return static_cast<char>(upper ? c & ~0x20 : c | 0x20);
}

// PCRE2 owns the Unicode case tables that we have; its extended replacements reach them.
std::string change_case(std::string_view text, bool upper) {
  std::string out(text);
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    for (char& c : out) c = change_ascii(c, upper);
    return out;
  }
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>("(?s).+"), PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  LATENT8_CHECK(code != nullptr);
  out.resize(2 * text.size() + 16);  // a changed character takes at most 3 bytes for 2
  PCRE2_SIZE length = out.size();
  const int rc = pcre2_substitute(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                                  PCRE2_SUBSTITUTE_EXTENDED, nullptr, nullptr,
                                  reinterpret_cast<PCRE2_SPTR>(upper ? "\\U$0" : "\\L$0"),
                                  PCRE2_ZERO_TERMINATED, reinterpret_cast<PCRE2_UCHAR*>(out.data()), &length);
  pcre2_code_free(code);
  if (rc < 0) fail("a text of {} bytes cannot change its case", text.size());
  out.resize(length);
  return out;
}

// Starts a word at each character that follows one for which boundary is true.
template <class Boundary>
std::string title_by(std::string_view text, Boundary boundary) {
  const std::string upper = change_case(text, true);  // character by character, unlike to_upper
  const std::string lower = change_case(text, false);
  std::string out;
  std::string_view rest = text, rest_upper = upper, rest_lower = lower;
  for (bool start = true; !rest.empty();) {
    const std::size_t n = utf8_front(rest).length;
    const std::size_t n_upper = utf8_front(rest_upper).length;
    const std::size_t n_lower = utf8_front(rest_lower).length;
    out += start ? rest_upper.substr(0, n_upper) : rest_lower.substr(0, n_lower);
    start = boundary(rest.substr(0, n));
    rest.remove_prefix(n);
    rest_upper.remove_prefix(n_upper);
    rest_lower.remove_prefix(n_lower);
  }
  return out;
}

}  // namespace

std::string strip_left(std::string_view text) { return strip_if(text, true, false, is_python_space); }
std::string strip_right(std::string_view text) { return strip_if(text, false, true, is_python_space); }
std::string strip(std::string_view text) { return strip_if(text, true, true, is_python_space); }

std::string strip_characters(std::string_view text, std::string_view characters, bool left, bool right) {
  const std::u32string set = to_code_points(characters);
  return strip_if(text, left, right, [&](char32_t c) { return set.find(c) != std::u32string::npos; });
}

std::string to_upper(std::string_view text) {
  // The one letter in use whose capital is two letters.
  return change_case(replace_all(text, "\xC3\x9F", "SS", -1), true);
}
std::string to_lower(std::string_view text) { return change_case(text, false); }

std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  const std::size_t first = utf8_front(text).length;
  return to_upper(text.substr(0, first)) + to_lower(text.substr(first));
}

std::string title(std::string_view text) {
  return title_by(text, [](std::string_view character) { return !cased(character); });
}

std::string title_filter(std::string_view text) {
  return title_by(text, [](std::string_view character) {
    return is_python_space(utf8_front(character).code_point) ||
           std::string_view("-({[<").find(character[0]) != std::string_view::npos;
  });
}

std::vector<std::string> split_space(std::string_view text, std::int64_t max_splits) {
  std::vector<std::string> parts;
  std::string rest = strip_left(text);
  while (!rest.empty()) {
    if (max_splits >= 0 && static_cast<std::int64_t>(parts.size()) == max_splits) {
      parts.push_back(strip_right(rest));
      break;
    }
    std::size_t end = 0;
    while (end < rest.size()) {
      const Utf8Step step = utf8_front(std::string_view(rest).substr(end));
      if (is_python_space(step.code_point)) break;
      end += step.length;
    }
    parts.push_back(rest.substr(0, end));
    rest = strip_left(std::string_view(rest).substr(end));
  }
  return parts;
}

std::vector<std::string> split_by(std::string_view text, std::string_view separator,
                                  std::int64_t max_splits) {
  if (separator.empty()) fail("split: the separator is empty");
  std::vector<std::string> parts;
  while (max_splits < 0 || static_cast<std::int64_t>(parts.size()) < max_splits) {
    const std::size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    parts.emplace_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  parts.emplace_back(text);
  return parts;
}

std::vector<std::string> split_by_from_right(std::string_view text, std::string_view separator,
                                             std::int64_t max_splits) {
  if (separator.empty()) fail("rsplit: the separator is empty");
  std::vector<std::string> parts;
  while (max_splits < 0 || static_cast<std::int64_t>(parts.size()) < max_splits) {
    const std::size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    parts.emplace_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  parts.emplace_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  std::string line;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_front(text.substr(at));
    const char32_t c = step.code_point;
    const bool end =
        (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!end) line += text.substr(at, step.length);
    at += step.length;
    if (c == '\r' && text.substr(at).starts_with('\n')) ++at;
    if (end) lines.push_back(std::exchange(line, ""));
  }
  if (!line.empty()) lines.push_back(std::move(line));
  return lines;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to,
                        std::int64_t count) {
  if (from.empty()) {
    std::string out;
    for (; !text.empty() && count != 0; --count) {
      const std::size_t length = utf8_front(text).length;
      out += to;
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
    out += count != 0 ? to : text;
    return out;
  }
  std::string out;
  for (; count != 0; --count) {
    const std::size_t found = text.find(from);
    if (found == std::string_view::npos) break;
    out += text.substr(0, found);
    out += to;
    text.remove_prefix(found + from.size());
  }
  out += text;
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
    fail("string '{}': an escape is not a character", literal);
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
