// Attributes, items and slices.

#include <algorithm>

#include "base/printable.h"
#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

Value loop_attribute(const Value& value, std::string_view name) {
  const LoopState& loop = *value.loop_if();
  const auto size = static_cast<std::int64_t>(loop.items->size());
  const auto index = static_cast<std::int64_t>(loop.index);
  if (name == "cycle" || name == "changed") return Value::method(value, name);
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(size - index);
  if (name == "revindex0") return Value(size - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == size);
  if (name == "length") return Value(size);
  if (name == "depth") return Value(std::int64_t{loop.depth0} + 1);
  if (name == "depth0") return Value(std::int64_t{loop.depth0});
  if (name == "previtem" && index > 0) return (*loop.items)[loop.index - 1];
  if (name == "nextitem" && index + 1 < size) return (*loop.items)[loop.index + 1];
  return Value::undefined(fmt::format("loop has no '{}' here", printable(name)));
}

Value missing(const Value& object, std::string_view name) {
  return Value::undefined(
      fmt::format("'{} object' has no attribute '{}'", object.type_name(), printable(name)));
}

// What is found as an attribute of the object itself; nullopt: nothing.
std::optional<Value> own_attribute(const Value& object, std::string_view name) {
  if (object.loop_if() != nullptr) return loop_attribute(object, name);
  if (const Namespace* names = object.namespace_if()) {
    if (const Value* found = names->attributes.find(name)) return *found;
    return std::nullopt;
  }
  switch (method_of(object, name)) {
    case MethodKind::kMissing:
      break;
    case MethodKind::kForbidden:
      return Value::undefined(fmt::format("'{}' of a {} is not safe: values of the sandbox cannot be changed",
                                          name, object.type_name()));
    case MethodKind::kKnown:
    case MethodKind::kUnsupported:
      return Value::method(object, name);
  }
  if (name.starts_with("__"))
    return Value::undefined(fmt::format("attribute '{}' is not safe", printable(name)));
  if (const Callable* callable = object.callable_if();
      callable != nullptr && callable->kind == Callable::Kind::kMacro && name == "name") {
    return Value(callable->name);
  }
  return std::nullopt;
}

std::optional<Value> item_at(const Value& object, std::int64_t index) {
  const std::int64_t size = length(object);
  const std::int64_t at = index < 0 ? index + size : index;
  if (at < 0 || at >= size) return std::nullopt;
  const auto number = static_cast<std::size_t>(at);
  if (!object.is_string()) return object.items()[number];
  const Text& text = *object.text_if();
  const std::size_t begin = text.byte_of(number);
  return Value(std::string_view(text.bytes).substr(begin, text.byte_of(number + 1) - begin));
}

// What object[key] finds; nullopt: nothing.
std::optional<Value> own_item(const Value& object, const Value& key) {
  if (const Dict* dict = object.dict_if()) {
    if (key.is_sequence() && !key.is_tuple()) return std::nullopt;
    if (key.is_dict()) return std::nullopt;
    const Value* found = dict->find(key);
    return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
  }
  const bool indexed =
      object.is_string() || object.is_list() || object.is_tuple() || object.is_kind(SequenceKind::kRange);
  if (indexed && (key.is_integer() || key.is_bool())) return item_at(object, key.as_int());
  return std::nullopt;
}

// A bound of a slice, resolved as Python does.
std::int64_t slice_bound(const Value& value, std::int64_t fallback, std::int64_t size, bool forward) {
  if (value.is_none()) return fallback;
  if (!value.is_integer() && !value.is_bool())
    fail("a slice bound must be an integer, got a {}", value.type_name());
  std::int64_t at = value.as_int();
  if (at < 0) at = at < -size ? -1 : at + size;
  const std::int64_t low = forward ? 0 : -1;
  return std::clamp(at, low, forward ? size : size - 1);
}

struct SliceRange {
  std::int64_t begin, end, stride;

  template <class Each>
  void for_each(Each each) const {
    for (std::int64_t at = begin; stride > 0 ? at < end : at > end;) {
      each(static_cast<std::size_t>(at));
      if (__builtin_add_overflow(at, stride, &at)) break;
    }
  }
};

Value slice_text(const Text& text, const SliceRange& range) {
  if (range.stride == 1) {
    if (range.end <= range.begin) return Value("");
    const std::size_t begin = text.byte_of(static_cast<std::size_t>(range.begin));
    const std::size_t end = text.byte_of(static_cast<std::size_t>(range.end));
    return Value(std::string_view(text.bytes).substr(begin, end - begin));
  }
  String out;
  range.for_each([&](std::size_t at) {
    step();
    const std::size_t begin = text.byte_of(at);
    append(out, std::string_view(text.bytes).substr(begin, text.byte_of(at + 1) - begin));
  });
  return Value(std::move(out));
}

}  // namespace

Value get_attribute(const Value& object, std::string_view name) {
  refuse_undefined(object);
  if (auto found = own_attribute(object, name)) return *std::move(found);
  if (const Dict* dict = object.dict_if()) {
    if (const Value* found = dict->find(name)) return *found;
  }
  return missing(object, name);
}

Value get_item(const Value& object, const Value& key) {
  refuse_undefined(object);
  if (auto found = own_item(object, key)) return *std::move(found);
  if (key.is_string()) {
    if (auto found = own_attribute(object, key.string())) return *std::move(found);
    return missing(object, key.string());
  }
  const std::string shown =
      key.is_number() ? std::string(key.str()) : fmt::format("of kind {}", key.type_name());
  return Value::undefined(fmt::format("the {} has no item {}", object.type_name(), shown));
}

Value slice(const Value& object, const Value& start, const Value& stop, const Value& stride) {
  refuse_undefined(object);
  const bool sliceable =
      object.is_string() || object.is_list() || object.is_tuple() || object.is_kind(SequenceKind::kRange);
  if (!sliceable) {
    // Jinja2 takes a failing subscript for an undefined value.
    return Value::undefined(fmt::format("a {} cannot be sliced", object.type_name()));
  }
  if (!stride.is_none() && !stride.is_integer())
    fail("a slice step must be an integer, got a {}", stride.type_name());
  SliceRange range{0, 0, stride.is_none() ? 1 : stride.as_int()};
  if (range.stride == 0) fail("a slice step of zero");
  const std::int64_t size = length(object);
  const bool forward = range.stride > 0;
  range.begin = slice_bound(start, forward ? 0 : size - 1, size, forward);
  range.end = slice_bound(stop, forward ? size : -1, size, forward);
  if (object.is_string()) return slice_text(*object.text_if(), range);
  Vector<Value> items;
  range.for_each([&](std::size_t at) { items.push_back(object.items()[at]); });
  return Value::sequence(object.sequence_if()->kind, std::move(items));
}

Value follow_path(const Value& object, const Value& path, const Value* fallback) {
  const auto or_fallback = [&](Value value) {
    return value.is_undefined() && fallback != nullptr ? *fallback : std::move(value);
  };
  if (!path.is_string()) return or_fallback(get_item(object, path));
  Value at = object;
  for (const Value& part : split_by(path.string(), ".", -1)) {
    const auto& digits = part.string();
    const bool number =
        !digits.empty() && digits.size() < 18 && digits.find_first_not_of("0123456789") == String::npos;
    at = or_fallback(get_item(at, number ? Value(std::int64_t{std::stoll(std::string(digits))}) : part));
  }
  return at;
}

}  // namespace latent8::jinja
