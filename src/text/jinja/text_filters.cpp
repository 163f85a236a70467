// Filters over text.

#include <algorithm>

#include "text/jinja/functions.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

constexpr std::string_view kTextFilters[] = {
    "trim",   "upper",  "lower",     "capitalize", "title",       "replace",
    "string", "indent", "safe",      "format",     "center",      "truncate",
    "escape", "e",      "wordcount", "urlencode",  "forceescape", "striptags"};

String indent(std::string_view text, const Arguments& arguments) {
  const BoundArguments bound("indent", arguments, {"width", "first", "blank"});
  const bool by_text = bound[0] != nullptr && bound[0]->is_string();
  const String margin = by_text ? bound[0]->string() : repeat_text(" ", checked_width(bound.integer(0, 4)));
  const bool blank = bound.truth(2, false);
  String whole(text);
  whole += '\n';
  const Vector<Value> lines = split_lines(whole);
  String out = bound.truth(1, false) ? margin : String();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].string().empty())) out += margin;
    out += lines[i].string();
  }
  return out;
}

Value truncate(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const std::int64_t length = bound.integer(0, 255);
  const std::string_view end = bound.text(2, "...");
  const std::int64_t leeway = bound.has(3) ? bound.integer(3, 0) : 5;
  const auto end_length = static_cast<std::int64_t>(count_characters(end));
  if (length < end_length || leeway < 0) fail("truncate: a length of {} with a leeway of {}", length, leeway);
  if (jinja::length(value) - leeway <= length) return value;
  if (!value.is_string()) fail("truncate: a str expected, got a {}", value.type_name());
  const Text& text = *value.text_if();
  std::string_view kept =
      std::string_view(text.bytes).substr(0, text.byte_of(static_cast<std::size_t>(length - end_length)));
  if (!bound.truth(1, false)) {
    if (const std::size_t blank = find_last_text(kept, " "); blank != std::string_view::npos)
      kept = kept.substr(0, blank);
  }
  String out(kept);
  append(out, end);
  return Value(std::move(out));
}

String escape(std::string_view text) {
  String out;
  step(text.size() / 8);
  for (const char c : text) {
    constexpr std::string_view kPlain = "&<>'\"";
    constexpr std::string_view kEntities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    const std::size_t at = kPlain.find(c);
    if (at == std::string_view::npos) {
      out += c;
    } else {
      append(out, kEntities[at]);
    }
  }
  return out;
}

std::int64_t count_words(std::string_view text) {
  std::int64_t count = 0;
  bool inside = false;
  step(text.size() / 8);
  for (; !text.empty(); text.remove_prefix(utf8_front(text).length)) {
    const char32_t c = utf8_front(text).code_point;
    const bool word = c == '_' || is_in(CharacterClass::kAlphabetic, c) || is_in(CharacterClass::kNumeric, c);
    count += word && !inside ? 1 : 0;
    inside = word;
  }
  return count;
}

String url_quoted(std::string_view text, bool in_query) {
  String out;
  step(text.size() / 4);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter =
        byte < 0x80 && (is_in(CharacterClass::kAlphabetic, byte) || is_in(CharacterClass::kDecimal, byte));
    if (letter || std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !in_query)) {
      out += c;
    } else if (c == ' ' && in_query) {
      out += '+';
    } else {
      append(out, fmt::format("%{:02X}", byte));
    }
  }
  return out;
}

Value url_encode(const Value& value) {
  if (!value.is_dict() && !value.is_sequence()) return Value(url_quoted(value.str(), false));
  String out;
  const Value items = value.is_dict() ? call_method(value, "items", {}) : value;
  for (const Value& item : iterate(items)) {
    const Vector<Value> pair = iterate(item);
    if (pair.size() != 2) fail("urlencode: pairs expected, got {} values", pair.size());
    if (!out.empty()) out += '&';
    out += url_quoted(pair[0].str(), true);
    out += '=';
    out += url_quoted(pair[1].str(), true);
  }
  return Value(std::move(out));
}

// Tags and comments go, and what is left has single blanks.
String strip_tags(std::string_view text) {
  const auto without = [](std::string_view whole, std::string_view open, std::string_view close) {
    String out;
    std::size_t at = 0;
    for (;;) {
      const std::size_t begin = find_text(whole, open, at);
      const std::size_t end =
          begin == std::string_view::npos ? begin : find_text(whole, close, begin + open.size());
      append(out, whole.substr(at, end == std::string_view::npos ? end : begin - at));
      if (end == std::string_view::npos) return out;
      at = end + close.size();
    }
  };
  const String bare = without(without(text, "<!--", "-->"), "<", ">");
  String out;
  for (const Value& word : split_space(bare, -1)) {
    if (!out.empty()) out += ' ';
    out += word.string();
  }
  return out;
}

Value replace(std::string_view text, const Arguments& arguments) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"});
  return Value(
      replace_all(text, bound.need(0).str(), bound.need(1).str(), bound.has(2) ? bound.integer(2, -1) : -1));
}

Value format(std::string_view text, const Arguments& arguments) {
  if (arguments.keywords.empty()) return Value(percent_format(text, Value::tuple(arguments.positional)));
  if (!arguments.positional.empty()) fail("format: positional and keyword arguments at the same time");
  Dict named;
  for (const auto& [name, value] : arguments.keywords) named.set(Value(name), value);
  return Value(percent_format(text, Value::dict(std::move(named))));
}

}  // namespace

bool is_text_filter(std::string_view name) { return among(kTextFilters, name); }

std::optional<Value> call_text_filter(std::string_view name, const Value& value, const Arguments& arguments) {
  if (!is_text_filter(name)) return std::nullopt;
  if (name == "urlencode") {
    const BoundArguments bound(name, arguments, {});
    return url_encode(value);
  }
  if (name == "truncate") return truncate(value, arguments);
  if (name == "indent" && !value.is_string()) fail("indent: a str expected, got a {}", value.type_name());
  const Value as_text = value.is_string() ? value : Value(value.str());
  const std::string_view text = as_text.string();
  if (name == "trim") {
    const BoundArguments bound(name, arguments, {"chars"});
    return Value(bound.has(0) ? strip_characters(text, bound.text(0, ""), true, true) : strip(text));
  }
  if (name == "indent") return Value(indent(text, arguments));
  if (name == "replace") return replace(text, arguments);
  if (name == "format") return format(text, arguments);
  if (name == "center") {
    const BoundArguments bound(name, arguments, {"width"});
    return Value(pad(text, bound.integer(0, 80), '^'));
  }
  const BoundArguments bound(name, arguments, {});
  if (name == "upper") return Value(to_upper(text));
  if (name == "lower") return Value(to_lower(text));
  if (name == "capitalize") return Value(capitalize(text));
  if (name == "title") return Value(title_filter(text));
  if (name == "escape" || name == "e" || name == "forceescape") return Value(escape(text));
  if (name == "wordcount") return Value(count_words(text));
  if (name == "striptags") return Value(strip_tags(text));
  return as_text;  // string, safe
}

}  // namespace latent8::jinja
