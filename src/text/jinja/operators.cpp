// Arithmetic, comparison and membership.

#include <algorithm>
#include <cmath>

#include "text/jinja/functions.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

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

bool is_count(const Value& value) { return value.is_integer() || value.is_bool(); }
bool is_repeatable(const Value& value) { return value.is_string() || value.is_list() || value.is_tuple(); }

Value repeat(const Value& sequence, std::int64_t count) {
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  if (sequence.is_string()) return Value(repeat_text(sequence.string(), times));
  const Vector<Value>& once = sequence.items();
  std::size_t total = 0;
  if (__builtin_mul_overflow(once.size(), times, &total)) fail("a repetition of {} times", count);
  Vector<Value> items;
  reserve(items, total);
  for (std::size_t i = 0; i < times && total > 0; ++i) items.insert(items.end(), once.begin(), once.end());
  return Value::sequence(sequence.sequence_if()->kind, std::move(items));
}

}  // namespace

void refuse_undefined(const Value& value) {
  if (const auto* undefined = value.undefined_if()) fail("{}", undefined->message);
}

Value negate(const Value& value) {
  if (value.is_float()) return Value(-value.as_double());
  refuse_undefined(value);
  if (!value.is_number()) fail("'-' before a {} has no meaning", value.type_name());
  return integer_arithmetic("-", 0, value.as_int());
}

Value binary(std::string_view op, const Value& a, const Value& b) {
  refuse_undefined(a);
  if (op == "%" && a.is_string()) return Value(percent_format(a.string(), b));
  refuse_undefined(b);
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return float_arithmetic(op, a.as_double(), b.as_double());
    return integer_arithmetic(op, a.as_int(), b.as_int());
  }
  if (op == "+" && a.is_string() && b.is_string()) {
    String text;
    text.reserve(a.string().size() + b.string().size());
    text += a.string();
    text += b.string();
    return Value(std::move(text));
  }
  if (op == "+" && ((a.is_list() && b.is_list()) || (a.is_tuple() && b.is_tuple()))) {
    Vector<Value> items;
    items.reserve(a.items().size() + b.items().size());
    items.insert(items.end(), a.items().begin(), a.items().end());
    items.insert(items.end(), b.items().begin(), b.items().end());
    return Value::sequence(a.sequence_if()->kind, std::move(items));
  }
  if (op == "*" && is_repeatable(a) && is_count(b)) return repeat(a, b.as_int());
  if (op == "*" && is_count(a) && is_repeatable(b)) return repeat(b, a.as_int());
  fail("'{}' between {} and {} has no meaning", op, a.type_name(), b.type_name());
}

bool compare(std::string_view op, const Value& a, const Value& b) {
  if (op == "==") return equal(a, b);
  if (op == "!=") return !equal(a, b);
  if (op == "in") return contains(b, a);
  if (op == "not in") return !contains(b, a);
  if (op == "<") return less(a, b);
  if (op == ">") return less(b, a);
  // NaN is neither below nor above, so that <= is not the opposite of >.
  return op == "<=" ? less(a, b) || equal(a, b) : less(b, a) || equal(a, b);
}

bool contains(const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) fail("'in <str>' needs a str on its left, got a {}", item.type_name());
    return find_text(container.string(), item.string()) != std::string_view::npos;
  }
  if (const Dict* dict = container.dict_if()) return dict->find(item) != nullptr;
  if (container.is_undefined()) return false;
  if (!container.is_sequence())
    fail("'in' needs a str, list or dict on its right, got a {}", container.type_name());
  const auto same = [&](const Value& other) { return other.same_as(item) || equal(other, item); };
  if (!container.is_iterator()) return std::any_of(container.items().begin(), container.items().end(), same);
  const Vector<Value> rest = iterate(container);
  return std::any_of(rest.begin(), rest.end(), same);
}

std::int64_t length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const Text* text = value.text_if()) return static_cast<std::int64_t>(text->characters);
  if (value.is_sequence() && !value.is_iterator()) return static_cast<std::int64_t>(value.items().size());
  if (const Dict* dict = value.dict_if()) return static_cast<std::int64_t>(dict->items().size());
  if (const LoopState* loop = value.loop_if()) return static_cast<std::int64_t>(loop->items->size());
  fail("a {} has no length", value.type_name());
}

}  // namespace latent8::jinja
