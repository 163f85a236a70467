// Methods of dictionaries and sequences; strings have their own file.

#include <algorithm>

#include "base/printable.h"
#include "text/jinja/functions.h"

namespace latent8::jinja {
namespace {

constexpr std::string_view kDictMethods[] = {"items", "keys", "values", "get", "copy", "fromkeys"};
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kSequenceMethods[] = {"index", "count"};
constexpr std::string_view kListChanges[] = {"append", "clear", "pop",    "reverse",
                                             "insert", "sort",  "extend", "remove"};

Value dict_method(const Dict& dict, std::string_view name, const Arguments& arguments) {
  if (name == "get") {
    const BoundArguments bound(name, arguments, {"key", "default"});
    const Value* found = dict.find(bound.need(0));
    if (found != nullptr) return *found;
    return bound[1] != nullptr ? *bound[1] : Value();
  }
  if (name == "fromkeys") {
    const BoundArguments bound(name, arguments, {"iterable", "value"});
    Dict made;
    for (const Value& key : iterate(bound.need(0))) made.set(key, bound[1] != nullptr ? *bound[1] : Value());
    return Value::dict(std::move(made));
  }
  const BoundArguments bound(name, arguments, {});
  if (name == "copy") return Value::dict(dict);
  Vector<Value> items;
  items.reserve(dict.items().size());
  for (const auto& [key, value] : dict.items())
    items.push_back(name == "items" ? Value::tuple({key, value}) : (name == "keys" ? key : value));
  const SequenceKind kind = name == "items"  ? SequenceKind::kItems
                            : name == "keys" ? SequenceKind::kKeys
                                             : SequenceKind::kValues;
  return Value::sequence(kind, std::move(items));
}

Value sequence_method(const Sequence& sequence, std::string_view name, const Arguments& arguments) {
  if (name == "copy") return Value::sequence(sequence.kind, sequence.items);
  const BoundArguments bound(name, arguments, {"item", "start", "stop"});
  const Value& item = bound.need(0);
  const auto same = [&](const Value& other) { return other.same_as(item) || equal(other, item); };
  const auto& items = sequence.items;
  if (name == "count") return Value(std::int64_t{std::count_if(items.begin(), items.end(), same)});
  const auto size = static_cast<std::int64_t>(items.size());
  const auto bounded = [&](std::int64_t at) {
    return std::clamp(at < 0 ? at + size : at, std::int64_t{0}, size);
  };
  const std::int64_t stop = bounded(bound.integer(2, size));
  for (std::int64_t i = bounded(bound.integer(1, 0)); i < stop; ++i)
    if (same(items[static_cast<std::size_t>(i)])) return Value(i);
  fail("index: the item is not in the list");
}

}  // namespace

MethodKind method_of(const Value& object, std::string_view name) {
  if (object.is_string()) return string_method_kind(name);
  if (object.is_dict()) {
    if (among(kDictChanges, name)) return MethodKind::kForbidden;
    return among(kDictMethods, name) ? MethodKind::kKnown : MethodKind::kMissing;
  }
  if (object.is_list() || object.is_tuple() || object.is_kind(SequenceKind::kRange)) {
    if (among(kSequenceMethods, name) || (object.is_list() && name == "copy")) return MethodKind::kKnown;
    if (object.is_list() && among(kListChanges, name)) return MethodKind::kForbidden;
  }
  return MethodKind::kMissing;
}

Value call_method(const Value& object, std::string_view name, const Arguments& arguments) {
  if (method_of(object, name) != MethodKind::kKnown)
    throw_error(ErrorCode::kUnsupported, "the method '{}' of a {} is not supported", printable(name),
                object.type_name());
  if (object.is_string()) return call_string_method(object, name, arguments);
  if (const Dict* dict = object.dict_if()) return dict_method(*dict, name, arguments);
  return sequence_method(*object.sequence_if(), name, arguments);
}

}  // namespace latent8::jinja
