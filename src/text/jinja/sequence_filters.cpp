// Filters over sequences.

#include <algorithm>

#include "base/printable.h"
#include "text/jinja/functions.h"
#include "text/jinja/sorting.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

constexpr std::string_view kSequenceFilters[] = {"join",     "first",  "last",  "list",    "items",
                                                 "dictsort", "unique", "sort",  "reverse", "sum",
                                                 "min",      "max",    "batch", "slice",   "groupby"};

struct Keyed {
  Value key;
  Value item;
};

// Texts compare without regard to case unless asked otherwise.
Value fold(const Value& value, bool case_sensitive) {
  return value.is_string() && !case_sensitive ? Value(to_lower(value.string())) : value;
}

Value with_attribute(const Value& item, const Value* attribute) {
  return attribute == nullptr || attribute->is_none() ? item : follow_path(item, *attribute);
}

void sort_by_key(Vector<Keyed>& keyed, bool reverse) {
  merge_sort(keyed, [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(b.key, a.key) : less(a.key, b.key);
  });
}

Value items_of(Vector<Keyed>& keyed) {
  Vector<Value> items;
  items.reserve(keyed.size());
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return Value::list(std::move(items));
}

// "a,b" sorts by a, then by b.
Value sort_key(const Value& item, const Value* attribute, bool case_sensitive) {
  if (attribute == nullptr || attribute->is_none()) return fold(item, case_sensitive);
  if (!attribute->is_string()) return Value::list({fold(follow_path(item, *attribute), case_sensitive)});
  Vector<Value> keys;
  for (const Value& part : split_by(attribute->string(), ",", -1))
    keys.push_back(fold(follow_path(item, part), case_sensitive));
  return Value::list(std::move(keys));
}

Value sorted(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  Vector<Keyed> keyed;
  for (const Value& item : iterate(value))
    keyed.push_back({sort_key(item, bound[2], bound.truth(1, false)), item});
  sort_by_key(keyed, bound.truth(0, false));
  return items_of(keyed);
}

Value dictsort(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  refuse_undefined(value);
  if (!value.is_dict()) fail("dictsort: a dict expected, got a {}", value.type_name());
  const std::string_view by = bound.text(1, "key");
  if (by != "key" && by != "value") fail("dictsort: by must be 'key' or 'value', got '{}'", printable(by));
  Vector<Keyed> keyed;
  for (const auto& [key, item] : value.dict_if()->items())
    keyed.push_back({fold(by == "key" ? key : item, bound.truth(0, false)), Value::tuple({key, item})});
  sort_by_key(keyed, bound.truth(2, false));
  return items_of(keyed);
}

Value unique(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("unique", arguments, {"case_sensitive", "attribute"});
  Dict seen;
  Vector<Value> out;
  for (const Value& item : iterate(value)) {
    const Value key = fold(with_attribute(item, bound[1]), bound.truth(0, false));
    if (seen.find(key) != nullptr) continue;
    seen.set(key, Value());
    out.push_back(item);
  }
  return Value::iterator(std::move(out));
}

Value join(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("join", arguments, {"d", "attribute"});
  const String separator = bound[0] != nullptr ? bound[0]->str() : String();
  String out;
  bool first = true;
  for (const Value& item : iterate(value)) {
    if (!first) out += separator;
    first = false;
    out += with_attribute(item, bound[1]).str();
  }
  return Value(std::move(out));
}

Value extreme(const Value& value, std::string_view name, const Arguments& arguments) {
  const BoundArguments bound(name, arguments, {"case_sensitive", "attribute"});
  const Vector<Value> items = iterate(value);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const auto key = [&](const Value& item) {
    return fold(with_attribute(item, bound[1]), bound.truth(0, false));
  };
  const Value* best = &items[0];
  Value best_key = key(items[0]);
  for (std::size_t i = 1; i < items.size(); ++i) {
    Value other = key(items[i]);
    if (name == "min" ? less(other, best_key) : less(best_key, other)) {
      best = &items[i];
      best_key = std::move(other);
    }
  }
  return *best;
}

Value sum(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("sum", arguments, {"attribute", "start"});
  Value total = bound[1] != nullptr ? *bound[1] : Value(std::int64_t{0});
  if (total.is_string()) fail("sum: texts are joined, not summed");
  for (const Value& item : iterate(value)) total = binary("+", total, with_attribute(item, bound[0]));
  return total;
}

Value reversed(const Value& value) {
  if (value.is_string()) return slice(value, Value(), Value(), Value(std::int64_t{-1}));
  const bool list = value.is_iterator();  // Jinja2 makes a list of what cannot be gone through backwards
  Vector<Value> items = iterate(value);
  std::reverse(items.begin(), items.end());
  return list ? Value::list(std::move(items)) : Value::iterator(std::move(items));
}

Value dict_items(const Value& value) {
  if (value.is_undefined()) return Value::iterator({});
  if (!value.is_dict()) fail("items: a dict expected, got a {}", value.type_name());
  Vector<Value> out;
  for (const auto& [key, item] : value.dict_if()->items()) out.push_back(Value::tuple({key, item}));
  return Value::iterator(std::move(out));
}

Value first(const Value& value) {
  if (Sequence* sequence = value.sequence_if(); sequence != nullptr && value.is_iterator()) {
    if (sequence->taken < sequence->items.size()) return sequence->items[sequence->taken++];
    if (sequence->failure) throw Error(*std::exchange(sequence->failure, std::nullopt));
    return Value::undefined("No first item, sequence was empty.");
  }
  if (value.is_string() && !value.string().empty()) return get_item(value, Value(std::int64_t{0}));
  const Vector<Value> items = iterate(value);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value last(const Value& value) {
  if (value.is_iterator()) fail("last: a generator cannot be reversed");
  if (value.is_string() && !value.string().empty()) return get_item(value, Value(std::int64_t{-1}));
  const Vector<Value> items = iterate(value);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

// Lists of `linecount` items each.
Value batch(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("batch", arguments, {"linecount", "fill_with"});
  bound.need(0);
  const std::int64_t size = bound.integer(0, 1);
  Vector<Value> out;
  Vector<Value> row;
  for (const Value& item : iterate(value)) {
    if (static_cast<std::int64_t>(row.size()) == size) out.push_back(Value::list(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    if (bound.has(1) && static_cast<std::int64_t>(row.size()) < size)
      row.resize(checked_width(size), *bound[1]);
    out.push_back(Value::list(std::move(row)));
  }
  return Value::iterator(std::move(out));
}

// This many lists; the first ones are longer by one where it does not come out even.
Value parts(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("slice", arguments, {"slices", "fill_with"});
  bound.need(0);
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(bound.integer(0, 1), 0));
  if (bound.integer(0, 1) == 0) fail("slice: zero parts");
  const Vector<Value> items = iterate(value);
  const std::size_t longer = count == 0 ? 0 : items.size() % count;
  Vector<Value> out;
  std::size_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = items.size() / count + (i < longer ? 1 : 0);
    Vector<Value> part(items.begin() + static_cast<std::ptrdiff_t>(at),
                       items.begin() + static_cast<std::ptrdiff_t>(at + size));
    if (bound.has(1) && i >= longer) part.push_back(*bound[1]);
    out.push_back(Value::list(std::move(part)));
    at += size;
  }
  return Value::iterator(std::move(out));
}

// Pairs (key, list of items), by key.
Value group_by(const Value& value, const Arguments& arguments) {
  const BoundArguments bound("groupby", arguments, {"attribute", "default", "case_sensitive"});
  const Value* fallback = bound.has(1) ? bound[1] : nullptr;
  const auto key = [&](const Value& item) { return follow_path(item, bound.need(0), fallback); };
  Vector<Keyed> keyed;
  for (const Value& item : iterate(value)) keyed.push_back({fold(key(item), bound.truth(2, false)), item});
  sort_by_key(keyed, false);
  Vector<Value> out;
  for (std::size_t begin = 0; begin < keyed.size();) {
    Vector<Value> group;
    std::size_t end = begin;
    while (end < keyed.size() && equal(keyed[end].key, keyed[begin].key)) group.push_back(keyed[end++].item);
    if (end == begin) ++end;  // a key that does not equal itself (NaN)
    if (group.empty()) group.push_back(keyed[begin].item);
    const Value shown = key(group[0]);
    out.push_back(Value::tuple({shown, Value::list(std::move(group))}));
    begin = end;
  }
  return Value::list(std::move(out));
}

// What Python does when somebody asks for the first item, as does what goes wrong in it.
template <class Make>
Value lazily(Make make) {
  try {
    return make();
  } catch (const Error& error) {
    step();  // an exhausted budget is an error now
    return Value::iterator({}, error);
  }
}

}  // namespace

bool is_sequence_filter(std::string_view name) { return among(kSequenceFilters, name); }

std::optional<Value> call_sequence_filter(std::string_view name, const Value& value,
                                          const Arguments& arguments) {
  if (!is_sequence_filter(name)) return std::nullopt;
  if (name == "join") return join(value, arguments);
  if (name == "sort") return sorted(value, arguments);
  if (name == "dictsort") return dictsort(value, arguments);
  if (name == "unique") return lazily([&] { return unique(value, arguments); });
  if (name == "min" || name == "max") return extreme(value, name, arguments);
  if (name == "sum") return sum(value, arguments);
  if (name == "batch") return lazily([&] { return batch(value, arguments); });
  if (name == "slice") return lazily([&] { return parts(value, arguments); });
  if (name == "groupby") return group_by(value, arguments);
  const BoundArguments bound(name, arguments, {});
  if (name == "items") return lazily([&] { return dict_items(value); });
  if (name == "list") return Value::list(iterate(value));
  if (name == "reverse") return reversed(value);
  return name == "first" ? first(value) : last(value);
}

}  // namespace latent8::jinja
