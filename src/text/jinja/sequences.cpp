// Filters over sequences.

#include <algorithm>
#include <array>
#include <map>

#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

constexpr std::array<std::string_view, 17> kFilters = {
    "join",       "first",      "last",   "list", "items",   "dictsort", "map", "select", "reject",
    "selectattr", "rejectattr", "unique", "sort", "reverse", "sum",      "min", "max"};

// Texts compare without regard to case unless asked otherwise.
Value sort_key(const Value& value, bool case_sensitive) {
  return value.is_string() && !case_sensitive ? Value(to_lower(value.string())) : value;
}

Value with_attribute(const Value& item, const Value* attribute) {
  return attribute == nullptr || attribute->is_none() ? item : follow_path(item, *attribute);
}

// A map of many equal keys keeps their order and, unlike std::sort, survives keys without an order (NaN).
struct KeyOrder {
  bool reverse;
  bool operator()(const Value& a, const Value& b) const { return reverse ? less(b, a) : less(a, b); }
};
using Keyed = std::multimap<Value, Value, KeyOrder>;

Value values_of(Keyed keyed) {
  std::vector<Value> items;
  for (auto& entry : keyed) items.push_back(std::move(entry.second));
  return Value::list(std::move(items));
}

Value sorted(const std::vector<Value>& items, const Arguments& arguments) {
  const BoundArguments bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  Keyed keyed(KeyOrder{bound.truth(0, false)});
  for (const Value& item : items) {
    keyed.emplace(sort_key(with_attribute(item, bound[2]), bound.truth(1, false)), item);
  }
  return values_of(std::move(keyed));
}

Value dictsort(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (!value.is_dict()) fail("dictsort: a dict expected, got a {}", value.type_name());
  const std::string by = bound.text(1, "key");
  if (by != "key" && by != "value") fail("dictsort: by must be 'key' or 'value', got '{}'", by);
  Keyed keyed(KeyOrder{bound.truth(2, false)});
  for (const auto& [key, item] : value.dict_ref().items) {
    keyed.emplace(sort_key(by == "key" ? key : item, bound.truth(0, false)), Value::tuple({key, item}));
  }
  return values_of(std::move(keyed));
}

Value unique(const std::vector<Value>& items, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("unique", arguments, {"case_sensitive", "attribute"});
  std::vector<Value> seen;
  std::vector<Value> out;
  for (const Value& item : items) {
    const Value key = sort_key(with_attribute(item, bound[1]), bound.truth(0, false));
    budget.step(seen.size());
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return equal(other, key); }))
      continue;
    seen.push_back(key);
    out.push_back(item);
  }
  return Value::list(std::move(out));
}

// map(attribute=...[, default=...]) or map('filter', arguments ...).
Value map(const std::vector<Value>& items, const Arguments& arguments, Budget& budget) {
  std::vector<Value> out;
  if (arguments.positional.empty()) {
    const BoundArguments bound("map", arguments, {"attribute", "default"});
    for (const Value& item : items) {
      Value value = follow_path(item, bound.need(0));
      out.push_back(value.is_undefined() && bound[1] != nullptr ? *bound[1] : std::move(value));
    }
    return Value::list(std::move(out));
  }
  const std::string name = arguments.positional[0].str();
  if (!is_filter(name)) throw_error(ErrorCode::kUnsupported, "map: the filter '{}' is not supported", name);
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin());
  for (const Value& item : items) out.push_back(call_filter(name, item, rest, budget));
  return Value::list(std::move(out));
}

// select, reject, selectattr and rejectattr: an attribute first if by_attribute, then a test and its
// arguments.
Value select(const std::vector<Value>& items, std::string_view name, const Arguments& arguments) {
  const bool by_attribute = name.ends_with("attr");
  const bool wanted = name.starts_with("select");
  Arguments rest = arguments;
  Value attribute;
  if (by_attribute) {
    if (rest.positional.empty()) fail("{}: an attribute expected", name);
    attribute = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  std::string test;
  if (!rest.positional.empty()) {
    test = rest.positional[0].str();
    rest.positional.erase(rest.positional.begin());
    if (!is_test(test))
      throw_error(ErrorCode::kUnsupported, "{}: the test '{}' is not supported", name, test);
  }
  std::vector<Value> out;
  for (const Value& item : items) {
    const Value value = with_attribute(item, &attribute);
    if ((test.empty() ? value.truthy() : call_test(test, value, rest)) == wanted) out.push_back(item);
  }
  return Value::list(std::move(out));
}

Value join(const std::vector<Value>& items, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("join", arguments, {"d", "attribute"});
  const std::string separator = bound[0] != nullptr ? bound[0]->str() : "";
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string part = with_attribute(items[i], bound[1]).str();
    budget.text(out.size() + part.size() + separator.size());
    if (i > 0) out += separator;
    out += part;
  }
  return Value(std::move(out));
}

Value extreme(const std::vector<Value>& items, std::string_view name, const Arguments& arguments) {
  const BoundArguments bound(name, arguments, {"case_sensitive", "attribute"});
  if (items.empty()) return Value::undefined(fmt::format("{}: the sequence is empty", name));
  const auto key = [&](const Value& item) {
    return sort_key(with_attribute(item, bound[1]), bound.truth(0, false));
  };
  const Value* best = &items[0];
  for (const Value& item : items) {
    if (name == "min" ? less(key(item), key(*best)) : less(key(*best), key(item))) best = &item;
  }
  return *best;
}

Value sum(const std::vector<Value>& items, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("sum", arguments, {"attribute", "start"});
  Value total = bound[1] != nullptr ? *bound[1] : Value(std::int64_t{0});
  for (const Value& item : items) total = binary("+", total, with_attribute(item, bound[0]), budget);
  return total;
}

Value reversed(const Value& value, std::vector<Value> items) {
  std::reverse(items.begin(), items.end());
  if (!value.is_string()) return Value::list(std::move(items));
  std::string text;
  for (const Value& character : items) text += character.string();
  return Value(std::move(text));
}

Value dict_items(const Value& value) {
  std::vector<Value> out;
  if (value.is_undefined()) return Value::list({});
  if (!value.is_dict()) fail("items: a dict expected, got a {}", value.type_name());
  for (const auto& [key, item] : value.dict_ref().items) out.push_back(Value::tuple({key, item}));
  return Value::list(std::move(out));
}

}  // namespace

bool is_sequence_filter(std::string_view name) {
  return std::find(kFilters.begin(), kFilters.end(), name) != kFilters.end();
}

std::optional<Value> call_sequence_filter(std::string_view name, const Value& value,
                                          const Arguments& arguments, Budget& budget) {
  if (!is_sequence_filter(name)) return std::nullopt;
  std::vector<Value> items = iterate(value);
  budget.items(items.size());
  if (name == "join") return join(items, arguments, budget);
  if (name == "map") return map(items, arguments, budget);
  if (name.starts_with("select") || name.starts_with("reject")) return select(items, name, arguments);
  if (name == "sort") return sorted(items, arguments);
  if (name == "dictsort") return dictsort(value, arguments);
  if (name == "unique") return unique(items, arguments, budget);
  if (name == "min" || name == "max") return extreme(items, name, arguments);
  if (name == "sum") return sum(items, arguments, budget);
  BoundArguments(name, arguments, {});
  if (name == "items") return dict_items(value);
  if (name == "list") return Value::list(std::move(items));
  if (name == "reverse") return reversed(value, std::move(items));
  if (items.empty()) return Value::undefined(fmt::format("{}: the sequence is empty", name));
  return name == "first" ? items.front() : items.back();
}

}  // namespace latent8::jinja
