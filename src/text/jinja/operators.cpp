#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja/functions.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

void refuse_undefined(const Value& value) {
  if (const auto* undefined = value.get_if<Undefined>()) fail("{}", undefined->message);
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (b == 0) fail("division by zero");
  if (b == -1) {
    std::int64_t negated = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, a, &negated)) fail("an integer beyond 64 bits");
    return negated;
  }
  const std::int64_t quotient = a / b;
  return a % b != 0 && ((a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

std::int64_t power(std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (; exponent > 0; --exponent) {
    if (__builtin_mul_overflow(result, base, &result)) fail("an integer beyond 64 bits");
  }
  return result;
}

Value integer_arithmetic(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "//") {
    result = floor_divide(a, b);
  } else if (op == "%") {
    result = b == -1 ? 0 : a - b * floor_divide(a, b);
  } else if (op == "**" && b >= 0) {
    result = power(a, b);
  } else {
    if (op == "/" && b == 0) fail("division by zero");
    return op == "/" ? Value(static_cast<double>(a) / static_cast<double>(b))
                     : Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
  }
  if (overflow) fail("an integer beyond 64 bits");
  return Value(result);
}

Value float_arithmetic(std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") return Value(std::pow(a, b));
  if (b == 0) fail("division by zero");
  if (op == "/") return Value(a / b);
  if (op == "//") return Value(std::floor(a / b));
  const double rest = std::fmod(a, b);
  return Value(rest != 0 && ((rest < 0) != (b < 0)) ? rest + b : rest);
}

Value repeat(const Value& sequence, std::int64_t count, Budget& budget) {
  const auto times = static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
  const auto total = [&](std::uint64_t size) {
    std::uint64_t product = 0;
    if (__builtin_mul_overflow(size, times, &product)) fail("a repetition of {} times", count);
    return product;
  };
  if (sequence.is_string()) {
    if (sequence.string().empty()) return sequence;
    budget.text(total(sequence.string().size()));
    std::string out;
    for (std::uint64_t i = 0; i < times; ++i) out += sequence.string();
    return Value(std::move(out));
  }
  const List& list = sequence.list();
  if (list.items.empty()) return list.is_tuple ? Value::tuple({}) : Value::list({});
  budget.items(total(list.items.size()));
  std::vector<Value> items;
  for (std::uint64_t i = 0; i < times; ++i) items.insert(items.end(), list.items.begin(), list.items.end());
  return list.is_tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

Value loop_attribute(const LoopState& loop, const std::string& name) {
  const auto size = static_cast<std::int64_t>(loop.items->size());
  const auto index = static_cast<std::int64_t>(loop.index);
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(size - index);
  if (name == "revindex0") return Value(size - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == size);
  if (name == "length") return Value(size);
  if (name == "depth") return Value(std::int64_t{1});  // counts recursion, which is refused
  if (name == "depth0") return Value(std::int64_t{0});
  if (name == "previtem" && index > 0) return (*loop.items)[loop.index - 1];
  if (name == "nextitem" && index + 1 < size) return (*loop.items)[loop.index + 1];
  return Value::undefined(fmt::format("loop has no '{}' here", name));
}

// One more than the largest and the smallest position of a slice, resolved as Python does.
std::int64_t slice_bound(const Value* value, std::int64_t fallback, std::int64_t size, bool forward) {
  if (value == nullptr || value->is_none()) return fallback;
  if (!value->is_integer() && !value->is_bool())
    fail("a slice bound must be an integer, got a {}", value->type_name());
  std::int64_t at = value->as_int();
  if (at < 0) at = at < -size ? -1 : at + size;
  const std::int64_t low = forward ? 0 : -1;
  return std::clamp(at, low, forward ? size : size - 1);
}

}  // namespace

Value binary(std::string_view op, const Value& a, const Value& b, Budget& budget) {
  refuse_undefined(a);
  if (op == "%" && a.is_string()) {
    Value text(percent_format(a.string(), b));
    budget.text(text.string().size());
    return text;
  }
  refuse_undefined(b);
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return float_arithmetic(op, a.as_double(), b.as_double());
    return integer_arithmetic(op, a.as_int(), b.as_int());
  }
  if (op == "+" && a.is_string() && b.is_string()) {
    budget.text(a.string().size() + b.string().size());
    return Value(a.string() + b.string());
  }
  if (op == "+" && a.is_list() && b.is_list() && a.list().is_tuple == b.list().is_tuple) {
    budget.items(a.list().items.size() + b.list().items.size());
    std::vector<Value> items = a.list().items;
    items.insert(items.end(), b.list().items.begin(), b.list().items.end());
    return a.list().is_tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
  }
  const auto is_sequence = [](const Value& value) { return value.is_string() || value.is_list(); };
  const auto is_count = [](const Value& value) { return value.is_integer() || value.is_bool(); };
  if (op == "*" && is_sequence(a) && is_count(b)) return repeat(a, b.as_int(), budget);
  if (op == "*" && is_count(a) && is_sequence(b)) return repeat(b, a.as_int(), budget);
  fail("'{}' between {} and {} has no meaning", op, a.type_name(), b.type_name());
}

Value get_attribute(const Value& object, const std::string& name) {
  refuse_undefined(object);
  if (const auto* loop = object.get_if<std::shared_ptr<const LoopState>>()) {
    if (name != "cycle" && name != "changed") return loop_attribute(**loop, name);
    return Value(Value::Data(Method{std::make_shared<const Value>(object), name}));
  }
  if (has_method(object, name))
    return Value(Value::Data(Method{std::make_shared<const Value>(object), name}));
  if (object.is_dict()) {
    if (const Value* found = object.dict_ref().find(std::string_view(name))) return *found;
  }
  return Value::undefined(fmt::format("'{} object' has no attribute '{}'", object.type_name(), name));
}

Value get_item(const Value& object, const Value& key) {
  refuse_undefined(object);
  if (object.is_dict() && !object.dict_ref().is_namespace) {
    if (const Value* found = object.dict_ref().find(key)) return *found;
  }
  const bool sequence = object.is_string() || object.is_list();
  if (sequence && (key.is_integer() || key.is_bool())) {
    const std::int64_t size = length(object);
    const std::int64_t at = key.as_int() < 0 ? key.as_int() + size : key.as_int();
    if (at >= 0 && at < size) {
      if (object.is_list()) return object.list().items[static_cast<std::size_t>(at)];
      return Value(from_code_points(to_code_points(object.string()).substr(static_cast<std::size_t>(at), 1)));
    }
    return Value::undefined(fmt::format("the {} has no item {}", object.type_name(), key.as_int()));
  }
  if (key.is_string()) return get_attribute(object, key.string());
  return Value::undefined(fmt::format("'{} object' has no item {}", object.type_name(), key.str()));
}

Value slice(const Value& object, const Value* start, const Value* stop, const Value* step) {
  refuse_undefined(object);
  if (!object.is_string() && !object.is_list()) fail("a {} cannot be sliced", object.type_name());
  const std::int64_t size = length(object);
  const bool has_step = step != nullptr && !step->is_none();
  if (has_step && !step->is_integer()) fail("a slice step must be an integer, got a {}", step->type_name());
  const std::int64_t stride = has_step ? step->as_int() : 1;
  if (stride == 0) fail("a slice step of zero");
  const bool forward = stride > 0;
  const std::int64_t begin = slice_bound(start, forward ? 0 : size - 1, size, forward);
  const std::int64_t end = slice_bound(stop, forward ? size : -1, size, forward);
  const std::u32string points = object.is_string() ? to_code_points(object.string()) : std::u32string();
  std::u32string text;
  std::vector<Value> items;
  for (std::int64_t at = begin; forward ? at < end : at > end;) {
    if (object.is_string()) {
      text += points[static_cast<std::size_t>(at)];
    } else {
      items.push_back(object.list().items[static_cast<std::size_t>(at)]);
    }
    if (__builtin_add_overflow(at, stride, &at)) break;
  }
  if (object.is_string()) return Value(from_code_points(text));
  return object.list().is_tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

bool contains(const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) fail("'in <str>' needs a str on its left, got a {}", item.type_name());
    return container.string().find(item.string()) != std::string::npos;
  }
  if (container.is_dict() && !container.dict_ref().is_namespace)
    return container.dict_ref().find(item) != nullptr;
  if (container.is_list()) {
    const auto& items = container.list().items;
    return std::any_of(items.begin(), items.end(), [&](const Value& other) { return equal(other, item); });
  }
  if (container.is_undefined()) return false;
  fail("'in' needs a str, list or dict on its right, got a {}", container.type_name());
}

std::int64_t length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) {
    const std::string& text = value.string();
    return std::count_if(text.begin(), text.end(),
                         [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  }
  if (value.is_list()) return static_cast<std::int64_t>(value.list().items.size());
  if (value.is_dict() && !value.dict_ref().is_namespace)
    return static_cast<std::int64_t>(value.dict_ref().items.size());
  fail("a {} has no length", value.type_name());
}

Value follow_path(const Value& object, const Value& path) {
  if (!path.is_string()) return get_item(object, path);
  Value at = object;
  for (const std::string& part : split_by(path.string(), ".", -1)) {
    const bool number =
        !part.empty() && part.size() < 18 && part.find_first_not_of("0123456789") == std::string::npos;
    at = get_item(at, number ? Value(std::int64_t{std::stoll(part)}) : Value(part));
  }
  return at;
}

}  // namespace latent8::jinja
