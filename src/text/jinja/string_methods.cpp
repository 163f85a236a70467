// Methods of str.

#include <algorithm>

#include "base/printable.h"
#include "text/jinja/functions.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

constexpr std::string_view kMethods[] = {
    "split",       "rsplit",    "strip",       "lstrip",  "rstrip",     "startswith",   "endswith",
    "upper",       "lower",     "replace",     "title",   "capitalize", "find",         "rfind",
    "index",       "rindex",    "count",       "join",    "splitlines", "removeprefix", "removesuffix",
    "format",      "center",    "ljust",       "rjust",   "zfill",      "partition",    "rpartition",
    "swapcase",    "casefold",  "isalnum",     "isalpha", "isascii",    "isdecimal",    "isdigit",
    "islower",     "isnumeric", "isprintable", "isspace", "istitle",    "isupper",      "expandtabs",
    "isidentifier"};
constexpr std::string_view kUnsupported[] = {"encode", "format_map", "maketrans", "translate"};

Value split(std::string_view text, std::string_view name, const Arguments& arguments) {
  const BoundArguments bound(name, arguments, {"sep", "maxsplit"});
  const std::int64_t max_splits = bound.integer(1, -1);
  const bool right = name == "rsplit";
  if (!bound.has(0))
    return Value::list(right ? split_space_from_right(text, max_splits) : split_space(text, max_splits));
  const std::string_view separator = bound.text(0, "");
  return Value::list(right ? split_by_from_right(text, separator, max_splits)
                           : split_by(text, separator, max_splits));
}

Value strip_method(std::string_view text, std::string_view name, const Arguments& arguments) {
  const BoundArguments bound(name, arguments, {"chars"});
  const bool left = name != "rstrip";
  const bool right = name != "lstrip";
  if (bound.has(0)) return Value(strip_characters(text, bound.text(0, ""), left, right));
  return Value(left && right ? strip(text) : (left ? strip_left(text) : strip_right(text)));
}

// Python's text[start:stop] of the methods that take such arguments.
struct Window {
  std::size_t begin, end;  // bytes
  std::int64_t start;      // characters
  bool exists;             // start is not beyond the end
};

Window window(const Text& text, const BoundArguments& bound) {
  const auto size = static_cast<std::int64_t>(text.characters);
  const auto clamp = [&](std::size_t index, std::int64_t fallback) {
    std::int64_t at = bound.has(index) ? bound.integer(index, 0) : fallback;
    if (at < 0) at = std::max<std::int64_t>(at + size, 0);
    return at;
  };
  const std::int64_t start = clamp(1, 0);
  const std::int64_t stop = std::min(clamp(2, size), size);
  const std::int64_t from = std::min(start, size);
  const std::int64_t to = std::max(stop, from);
  return {text.byte_of(static_cast<std::size_t>(from)), text.byte_of(static_cast<std::size_t>(to)), from,
          start <= size && start <= stop};
}

bool has_affix(std::string_view text, const Value& affix, bool prefix) {
  if (affix.is_tuple()) {
    return std::any_of(affix.items().begin(), affix.items().end(), [&](const Value& item) {
      step();
      if (item.is_tuple()) fail("startswith and endswith need a tuple of str, got a tuple in it");
      return has_affix(text, item, prefix);
    });
  }
  if (!affix.is_string()) fail("startswith and endswith need a str or a tuple, got a {}", affix.type_name());
  step(affix.string().size() / 64);
  return prefix ? text.starts_with(affix.string()) : text.ends_with(affix.string());
}

Value affix_method(const Text& text, std::string_view name, const Arguments& arguments) {
  const BoundArguments bound(name, arguments, {"affix", "start", "end"});
  const Value& affix = bound.need(0);
  const Window part = window(text, bound);
  const std::string_view inside = std::string_view(text.bytes).substr(part.begin, part.end - part.begin);
  return Value(has_affix(inside, affix, name == "startswith") && (part.exists));
}

// find, rfind, index, rindex, count.
Value search(const Text& text, std::string_view name, const Arguments& arguments) {
  const BoundArguments bound(name, arguments, {"sub", "start", "end"});
  const std::string_view part = bound.need_text(0);
  const Window within = window(text, bound);
  const std::string_view inside =
      std::string_view(text.bytes).substr(within.begin, within.end - within.begin);
  if (name == "count") return Value(within.exists ? count_text(inside, part) : std::int64_t{0});
  const bool right = name.starts_with("r");
  const std::size_t at = !within.exists ? std::string_view::npos
                         : right        ? find_last_text(inside, part)
                                        : find_text(inside, part);
  if (at != std::string_view::npos)
    return Value(within.start + static_cast<std::int64_t>(count_characters(inside.substr(0, at))));
  if (name.ends_with("index")) fail("{}: '{}' is not in the text", name, printable(part));
  return Value(std::int64_t{-1});
}

Value join(std::string_view separator, const Value& items) {
  String out;
  bool first = true;
  for (const Value& item : iterate(items)) {
    if (!item.is_string()) fail("join: a str expected, got a {}", item.type_name());
    if (!first) append(out, separator);
    first = false;
    append(out, item.string());
  }
  return Value(std::move(out));
}

Value partition(std::string_view text, std::string_view name, const Arguments& arguments) {
  const std::string_view separator = BoundArguments(name, arguments, {"sep"}).need_text(0);
  if (separator.empty()) fail("{}: the separator is empty", name);
  const bool right = name == "rpartition";
  const std::size_t at = right ? find_last_text(text, separator) : find_text(text, separator);
  if (at == std::string_view::npos)
    return right ? Value::tuple({Value(""), Value(""), Value(text)})
                 : Value::tuple({Value(text), Value(""), Value("")});
  return Value::tuple(
      {Value(text.substr(0, at)), Value(separator), Value(text.substr(at + separator.size()))});
}

String zfill(std::string_view text, std::int64_t width) {
  const bool sign = text.starts_with('+') || text.starts_with('-');
  if (!sign) return pad(text, width, '>', "0");
  String out(text.substr(0, 1));
  append(out, pad(text.substr(1), width - 1, '>', "0"));
  return out;
}

String expand_tabs(std::string_view text, std::int64_t size) {
  const std::size_t width = checked_width(size);
  String out;
  std::size_t column = 0;
  step(text.size() / 4);
  for (const char c : text) {
    if (c == '\t') {
      const std::size_t blanks = width == 0 ? 0 : width - column % width;
      out.append(blanks, ' ');
      column += blanks;
      continue;
    }
    out += c;
    column = c == '\n' || c == '\r' ? 0 : column + ((static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0);
  }
  return out;
}

template <class Holds>
bool all_characters(std::string_view text, Holds holds) {
  step(text.size() / 8);
  for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(utf8_front(rest).length))
    if (!holds(utf8_front(rest).code_point)) return false;
  return true;
}

// islower and isupper: no character of the other case, and one with a case.
bool has_only_case(std::string_view text, CharacterClass wanted) {
  bool cased = false;
  const bool all = all_characters(text, [&](char32_t c) {
    if (!is_in(CharacterClass::kCased, c)) return true;
    cased = true;
    return is_in(wanted, c);
  });
  return all && cased;
}

bool is_title(std::string_view text) {
  bool cased = false;
  bool inside = false;
  const bool all = all_characters(text, [&](char32_t c) {
    const bool upper = is_in(CharacterClass::kUpper, c);
    const bool lower = is_in(CharacterClass::kLower, c);
    const bool good = !(upper && inside) && !(lower && !inside);
    inside = upper || lower;
    cased = cased || inside;
    return good;
  });
  return all && cased;
}

bool is_identifier(std::string_view text) {
  bool first = true;
  return !text.empty() && all_characters(text, [&](char32_t c) {
    const bool letter = c == '_' || is_in(CharacterClass::kAlphabetic, c);
    return letter || (!std::exchange(first, false) && is_in(CharacterClass::kDecimal, c));
  });
}

bool has_quality(std::string_view text, std::string_view name) {
  if (name == "isascii") return all_characters(text, [](char32_t c) { return c < 0x80; });
  if (name == "isprintable") return all_characters(text, is_printable);
  if (text.empty()) return false;
  if (name == "islower") return has_only_case(text, CharacterClass::kLower);
  if (name == "isupper") return has_only_case(text, CharacterClass::kUpper);
  if (name == "istitle") return is_title(text);
  if (name == "isidentifier") return is_identifier(text);
  if (name == "isspace") return all_characters(text, is_python_space);
  const auto in = [](CharacterClass kind) { return [kind](char32_t c) { return is_in(kind, c); }; };
  if (name == "isalpha") return all_characters(text, in(CharacterClass::kAlphabetic));
  if (name == "isdecimal") return all_characters(text, in(CharacterClass::kDecimal));
  if (name == "isdigit") return all_characters(text, in(CharacterClass::kDigit));
  if (name == "isnumeric") return all_characters(text, in(CharacterClass::kNumeric));
  return all_characters(text, [](char32_t c) {  // isalnum
    return is_in(CharacterClass::kAlphabetic, c) || is_in(CharacterClass::kNumeric, c);
  });
}

Value without_arguments(std::string_view text, std::string_view name, const Arguments& arguments) {
  const BoundArguments bound(name, arguments, {});
  if (name == "upper") return Value(to_upper(text));
  if (name == "lower" || name == "casefold") return Value(to_lower(text));
  if (name == "title") return Value(title(text));
  if (name == "capitalize") return Value(capitalize(text));
  if (name == "swapcase") return Value(swap_case(text));
  return Value(has_quality(text, name));
}

}  // namespace

MethodKind string_method_kind(std::string_view name) {
  if (among(kMethods, name)) return MethodKind::kKnown;
  return among(kUnsupported, name) ? MethodKind::kUnsupported : MethodKind::kMissing;
}

Value call_string_method(const Value& value, std::string_view name, const Arguments& arguments) {
  const Text& whole = *value.text_if();
  const std::string_view text = whole.bytes;
  if (name == "split" || name == "rsplit") return split(text, name, arguments);
  if (name == "strip" || name == "lstrip" || name == "rstrip") return strip_method(text, name, arguments);
  if (name == "startswith" || name == "endswith") return affix_method(whole, name, arguments);
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex" || name == "count")
    return search(whole, name, arguments);
  if (name == "partition" || name == "rpartition") return partition(text, name, arguments);
  if (name == "format") return format_braces(text, arguments);
  if (name == "join") return join(text, BoundArguments(name, arguments, {"items"}).need(0));
  if (name == "splitlines") {
    const BoundArguments bound(name, arguments, {"keepends"});
    return Value::list(split_lines(text, bound.truth(0, false)));
  }
  if (name == "replace") {
    const BoundArguments bound(name, arguments, {"old", "new", "count"});
    return Value(replace_all(text, bound.need_text(0), bound.need_text(1), bound.integer(2, -1)));
  }
  if (name == "center" || name == "ljust" || name == "rjust") {
    const BoundArguments bound(name, arguments, {"width", "fillchar"});
    bound.need(0);
    const char align = name == "center" ? '^' : (name == "ljust" ? '<' : '>');
    return Value(pad(text, bound.integer(0, 0), align, bound.text(1, " ")));
  }
  if (name == "zfill") {
    const BoundArguments bound(name, arguments, {"width"});
    bound.need(0);
    return Value(zfill(text, bound.integer(0, 0)));
  }
  if (name == "expandtabs")
    return Value(expand_tabs(text, BoundArguments(name, arguments, {"tabsize"}).integer(0, 8)));
  if (name == "removeprefix" || name == "removesuffix") {
    const std::string_view part = BoundArguments(name, arguments, {"affix"}).need_text(0);
    if (name == "removeprefix") return Value(text.starts_with(part) ? text.substr(part.size()) : text);
    return Value(text.ends_with(part) ? text.substr(0, text.size() - part.size()) : text);
  }
  return without_arguments(text, name, arguments);
}

}  // namespace latent8::jinja
