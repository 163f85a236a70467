#include <algorithm>
#include <array>

#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

constexpr std::array<std::string_view, 20> kStringMethods = {
    "split", "rsplit",     "strip",        "lstrip",       "rstrip",     "startswith", "endswith",
    "upper", "lower",      "replace",      "title",        "capitalize", "find",       "count",
    "join",  "splitlines", "removeprefix", "removesuffix", "isdigit",    "format"};
constexpr std::array<std::string_view, 4> kDictMethods = {"items", "keys", "values", "get"};
constexpr std::array<std::string_view, 3> kListMethods = {"append", "index", "count"};
constexpr std::array<std::string_view, 2> kLoopMethods = {"cycle", "changed"};

template <std::size_t N>
bool among(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Value strings(std::vector<std::string> parts, Budget& budget) {
  budget.items(parts.size());
  std::vector<Value> items;
  for (std::string& part : parts) items.emplace_back(std::move(part));
  return Value::list(std::move(items));
}

Value split(const std::string& text, std::string_view name, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound(name, arguments, {"sep", "maxsplit"});
  const std::int64_t max_splits = bound.integer(1, -1);
  budget.items(text.size() / 4);
  if (bound[0] == nullptr || bound[0]->is_none()) {
    if (name == "rsplit" && max_splits >= 0) fail("rsplit by white space with a maxsplit is not supported");
    return strings(split_space(text, max_splits), budget);
  }
  const std::string separator = bound.text(0, "");
  return strings(name == "split" ? split_by(text, separator, max_splits)
                                 : split_by_from_right(text, separator, max_splits),
                 budget);
}

Value strip_method(const std::string& text, std::string_view name, const Arguments& arguments) {
  const BoundArguments bound(name, arguments, {"chars"});
  const bool left = name != "rstrip";
  const bool right = name != "lstrip";
  if (bound[0] != nullptr && !bound[0]->is_none()) {
    return Value(strip_characters(text, bound.text(0, ""), left, right));
  }
  return Value(left && right ? strip(text) : (left ? strip_left(text) : strip_right(text)));
}

// startswith and endswith take a str or a tuple of them.
bool has_affix(const std::string& text, const Value& affix, bool prefix) {
  if (affix.is_list() && affix.list().is_tuple) {
    const auto& items = affix.list().items;
    return std::any_of(items.begin(), items.end(),
                       [&](const Value& item) { return has_affix(text, item, prefix); });
  }
  if (!affix.is_string()) fail("startswith and endswith need a str or a tuple, got a {}", affix.type_name());
  return prefix ? text.starts_with(affix.string()) : text.ends_with(affix.string());
}

std::int64_t count_of(std::string_view text, std::string_view part) {
  if (part.empty()) return length(Value(text)) + 1;
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++count;
  return count;
}

std::int64_t find_in(const std::string& text, const std::string& part) {
  const std::size_t at = text.find(part);
  return at == std::string::npos ? -1 : length(Value(std::string_view(text).substr(0, at)));
}

// {} {0} {name}; no format specifications.
std::string format_braces(const std::string& text, const Arguments& arguments) {
  std::string out;
  std::size_t next = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if ((c == '{' || c == '}') && at + 1 < text.size() && text[at + 1] == c) {
      out += text[at++];
    } else if (c == '}') {
      fail("format: a single '}}' in '{}'", text);
    } else if (c != '{') {
      out += c;
    } else {
      const std::size_t close = text.find('}', at);
      if (close == std::string::npos) fail("format: a '{{' is never closed in '{}'", text);
      const std::string field = text.substr(at + 1, close - at - 1);
      const bool index =
          !field.empty() && field.size() < 9 && field.find_first_not_of("0123456789") == std::string::npos;
      const std::size_t position = field.empty() ? next++ : (index ? std::stoul(field) : 0);
      const Value* value = nullptr;
      if (field.empty() || index) {
        if (position < arguments.positional.size()) value = &arguments.positional[position];
      } else {
        for (const auto& [name, item] : arguments.keywords) value = name == field ? &item : value;
      }
      if (value == nullptr)
        fail("format: nothing to put into '{{{}}}'; specifications are not supported", field);
      out += value->str();
      at = close;
    }
  }
  return out;
}

std::string join(const std::string& separator, const Value& items, Budget& budget) {
  std::string out;
  bool first = true;
  for (const Value& item : iterate(items)) {
    if (!item.is_string()) fail("join: a str expected, got a {}", item.type_name());
    budget.text(out.size() + item.string().size() + separator.size());
    if (!first) out += separator;
    first = false;
    out += item.string();
  }
  return out;
}

Value replace(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"});
  const std::string from = bound.text(0, "");
  const std::string to = bound.text(1, "");
  bound.need(1);
  budget.text(text.size() + static_cast<std::uint64_t>(count_of(text, from)) * to.size());
  return Value(replace_all(text, from, to, bound.integer(2, -1)));
}

Value string_method(const std::string& text, std::string_view name, const Arguments& arguments,
                    Budget& budget) {
  budget.text(text.size());
  if (name == "split" || name == "rsplit") return split(text, name, arguments, budget);
  if (name == "strip" || name == "lstrip" || name == "rstrip") return strip_method(text, name, arguments);
  if (name == "replace") return replace(text, arguments, budget);
  if (name == "format") {
    Value out(format_braces(text, arguments));
    budget.text(out.string().size());
    return out;
  }
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize" || name == "isdigit" ||
      name == "splitlines") {
    BoundArguments(name, arguments, {});
    if (name == "upper") return Value(to_upper(text));
    if (name == "lower") return Value(to_lower(text));
    if (name == "title") return Value(title(text));
    if (name == "capitalize") return Value(capitalize(text));
    if (name == "splitlines") return strings(split_lines(text), budget);
    return Value(!text.empty() && text.find_first_not_of("0123456789") == std::string::npos);
  }
  const BoundArguments bound(name, arguments, {"argument"});
  const Value& argument = bound.need(0);
  if (name == "join") return Value(join(text, argument, budget));
  if (name == "startswith" || name == "endswith")
    return Value(has_affix(text, argument, name == "startswith"));
  const std::string part = bound.text(0, "");
  if (name == "find") return Value(find_in(text, part));
  if (name == "count") return Value(count_of(text, part));
  if (name == "removeprefix") return Value(text.starts_with(part) ? text.substr(part.size()) : text);
  return Value(text.ends_with(part) ? text.substr(0, text.size() - part.size()) : text);  // removesuffix
}

Value dict_method(const Dict& dict, std::string_view name, const Arguments& arguments, Budget& budget) {
  budget.items(dict.items.size());
  if (name == "get") {
    const BoundArguments bound(name, arguments, {"key", "default"});
    const Value* found = dict.find(bound.need(0));
    if (found != nullptr) return *found;
    return bound[1] != nullptr ? *bound[1] : Value();
  }
  BoundArguments(name, arguments, {});
  std::vector<Value> items;
  for (const auto& [key, value] : dict.items) {
    items.push_back(name == "items" ? Value::tuple({key, value}) : (name == "keys" ? key : value));
  }
  return Value::list(std::move(items));
}

Value list_method(List& list, std::string_view name, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound(name, arguments, {"item"});
  const Value& item = bound.need(0);
  budget.items(1);
  if (name == "append") {
    list.items.push_back(item);
    return Value();
  }
  const auto same = [&](const Value& other) { return equal(other, item); };
  if (name == "count") return Value(std::int64_t{std::count_if(list.items.begin(), list.items.end(), same)});
  const auto found = std::find_if(list.items.begin(), list.items.end(), same);
  if (found == list.items.end()) fail("index: {} is not in the list", item.repr());
  return Value(std::int64_t{found - list.items.begin()});
}

}  // namespace

bool is_method(std::string_view name) {
  return among(kStringMethods, name) || among(kDictMethods, name) || among(kListMethods, name) ||
         name == kLoopMethods[0];
}

bool has_method(const Value& object, std::string_view name) {
  if (object.is_string()) return among(kStringMethods, name);
  if (object.is_dict()) return !object.dict_ref().is_namespace && among(kDictMethods, name);
  if (object.is_list()) return among(kListMethods, name) && (name != "append" || !object.list().is_tuple);
  return false;
}

Value call_method(const Value& object, std::string_view name, const Arguments& arguments, Budget& budget) {
  if (object.is_string()) return string_method(object.string(), name, arguments, budget);
  if (object.is_dict()) return dict_method(object.dict_ref(), name, arguments, budget);
  return list_method(object.list(), name, arguments, budget);
}

bool is_missing_function(std::string_view name) {
  return name == "dict" || name == "lipsum" || name == "cycler" || name == "joiner" || name == "caller" ||
         name == "super" || name == "varargs" || name == "kwargs";
}

}  // namespace latent8::jinja
