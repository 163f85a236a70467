// What is called: functions of the environment, macros, methods and recursive loops.

#include <algorithm>
#include <chrono>
#include <ctime>

#include "base/printable.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {
namespace {

// strftime by one conversion after the other, so that the length of the format does not matter.
String now_text(std::string_view format) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm local{};
  localtime_r(&seconds, &local);
  String text;
  for (std::size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%' || at + 1 == format.size()) {
      text += format[at];
      continue;
    }
    std::string conversion = "%";
    while (++at + 1 < format.size() &&
           std::string_view("-_^#EO").find(format[at]) != std::string_view::npos && conversion.size() < 8)
      conversion += format[at];
    conversion += format[at];
    step();
    if (conversion == "%f") {
      const auto micros =
          std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count() % 1'000'000;
      append(text, fmt::format("{:06}", micros));
      continue;
    }
    char buffer[256];
    append(text, std::string_view(buffer, std::strftime(buffer, sizeof buffer, conversion.c_str(), &local)));
  }
  return text;
}

Value range(const Arguments& arguments) {
  const BoundArguments bound("range", arguments, {"start", "stop", "step"});
  bound.need(0);
  const bool one = bound[1] == nullptr;
  const std::int64_t start = one ? 0 : bound.integer(0, 0);
  const std::int64_t stop = bound.integer(one ? 0 : 1, 0);
  const std::int64_t stride = bound.integer(2, 1);
  if (stride == 0) fail("range: a step of zero");
  constexpr std::int64_t kMaxRange = 100'000;  // Jinja2's sandbox has the same bound
  Vector<Value> items;
  for (std::int64_t at = start; stride > 0 ? at < stop : at > stop;) {
    if (static_cast<std::int64_t>(items.size()) == kMaxRange) fail("range: more than {} items", kMaxRange);
    items.emplace_back(at);
    if (__builtin_add_overflow(at, stride, &at)) break;
  }
  Value made = Value::sequence(SequenceKind::kRange, std::move(items));
  made.sequence_if()->range = {start, stop, stride};
  return made;
}

// dict(mapping or pairs, name=value ...).
Dict make_dict(std::string_view function, const Arguments& arguments) {
  Dict dict;
  if (arguments.positional.size() > 1)
    fail("{}: at most 1 argument expected, got {}", function, arguments.positional.size());
  for (const Value& value : arguments.positional) {
    if (value.is_dict()) {
      for (const auto& [key, item] : value.dict_if()->items()) dict.set(key, item);
      continue;
    }
    refuse_undefined(value);
    for (const Value& pair : iterate(value)) {
      Vector<Value> parts = iterate(pair);
      if (parts.size() != 2) fail("{}: pairs expected, got {} values", function, parts.size());
      dict.set(parts[0], std::move(parts[1]));
    }
  }
  for (const auto& [name, value] : arguments.keywords) dict.set(Value(name), value);
  return dict;
}

}  // namespace

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  if (const LoopState* loop = callee.loop_if()) return call_loop(*loop, arguments);
  refuse_undefined(callee);
  const Callable* callable = callee.callable_if();
  if (callable == nullptr) fail("a {} cannot be called", callee.type_name());
  switch (callable->kind) {
    case Callable::Kind::kBuiltin:
      return call_builtin(callable->name, arguments);
    case Callable::Kind::kMacro:
      return call_macro(*callable, arguments);
    case Callable::Kind::kMethod:
      break;
  }
  if (const LoopState* loop = callable->object->loop_if())
    return call_loop_method(*loop, callable->name, arguments);
  return call_method(*callable->object, callable->name, arguments);
}

Value Interpreter::call_builtin(std::string_view name, const Arguments& arguments) {
  if (name == "range") return range(arguments);
  if (name == "namespace") return make_namespace(arguments);
  if (name == "dict") return Value::dict(make_dict(name, arguments));
  if (name == "strftime_now")
    return Value(now_text(BoundArguments(name, arguments, {"format"}).need(0).str()));
  if (name == "raise_exception") {
    constexpr std::size_t kMostBytes = 2000;
    throw_error(ErrorCode::kInvalidArgument, "raised by the template: {}",
                printable(BoundArguments(name, arguments, {"message"}).need(0).str(), kMostBytes));
  }
  throw_error(ErrorCode::kUnsupported, "the function '{}' is not supported", name);
}

Value Interpreter::make_namespace(const Arguments& arguments) {
  auto names = make_counted<Namespace>();
  names->attributes = make_dict("namespace", arguments);
  namespaces_.push_back(names);
  step(8);
  return Value(Value::Data(std::move(names)));
}

Value Interpreter::make_macro(const Statement& definition, std::string_view name) {
  auto macro = make_counted<Callable>();
  macro->kind = Callable::Kind::kMacro;
  macro->name = name;
  macro->definition = &definition;
  macro->scope = scope_;
  return Value(Value::Data(std::shared_ptr<const Callable>(std::move(macro))));
}

void Interpreter::bind_parameters(const Callable& macro, const Arguments& arguments) {
  const Statement& definition = *macro.definition;
  const auto& parameters = definition.parameters;
  const std::size_t count = std::min(arguments.positional.size(), parameters.size());
  if (arguments.positional.size() > count && !definition.uses_varargs)
    fail("macro '{}': at most {} arguments expected, got {}", macro.name, count, arguments.positional.size());
  for (std::size_t i = 0; i < count; ++i) scope_->set(parameters[i].first, arguments.positional[i]);
  Dict others;
  for (const auto& [name, value] : arguments.keywords) {
    bool known = false;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].first != std::string_view(name)) continue;
      if (i < count) fail("macro '{}': argument '{}' is given twice", macro.name, printable(name));
      scope_->set(parameters[i].first, value);
      known = true;
    }
    step(parameters.size() / 8);
    if (!known && name == "caller" && definition.uses_caller) {
      scope_->set("caller", value);
    } else if (!known && !definition.uses_kwargs) {
      fail("macro '{}': unexpected argument '{}'", macro.name, printable(name));
    } else if (!known) {
      others.set(Value(name), value);
    }
  }
  if (definition.uses_caller && scope_->find_here("caller") == nullptr)
    scope_->set("caller", Value::undefined("No caller defined"));
  if (definition.uses_kwargs) scope_->set("kwargs", Value::dict(std::move(others)));
  if (definition.uses_varargs) {
    Vector<Value> rest(arguments.positional.begin() + static_cast<std::ptrdiff_t>(count),
                       arguments.positional.end());
    scope_->set("varargs", Value::tuple(std::move(rest)));
  }
  for (const auto& [name, fallback] : parameters) {
    if (scope_->find_here(name) != nullptr) continue;
    scope_->set(name, fallback != nullptr
                          ? evaluate(*fallback)
                          : Value::undefined(fmt::format("parameter '{}' was not provided", name)));
  }
}

Value Interpreter::call_macro(const Callable& macro, const Arguments& arguments) {
  const std::shared_ptr<Scope> enclosing = macro.scope.lock();
  if (enclosing == nullptr) fail("macro '{}' is called outside of the block that defines it", macro.name);
  const ScopeGuard guard(*this, make_counted<Scope>(enclosing));
  bind_parameters(macro, arguments);
  return Value(capture(macro.definition->body));
}

// The loop again, over other items.
Value Interpreter::call_loop(const LoopState& loop, const Arguments& arguments) {
  if (loop.loop == nullptr) fail("the loop is not recursive");
  const Value& over = BoundArguments("loop", arguments, {"iterable"}).need(0);
  const std::shared_ptr<Scope> enclosing = loop.scope.lock();
  if (enclosing == nullptr) fail("a loop is called outside of itself");
  String outer_text = std::exchange(out_, String());
  {
    const ScopeGuard guard(*this, enclosing);
    run_for(*loop.loop, over, loop.depth0 + 1);
  }
  std::swap(out_, outer_text);
  return Value(std::move(outer_text));
}

Value Interpreter::call_loop_method(const LoopState& loop, std::string_view name,
                                    const Arguments& arguments) {
  const Vector<Value>& given = arguments.positional;
  if (name == "changed") {
    std::optional<Vector<Value>>& last = *loop.changed;
    const bool same =
        last && last->size() == given.size() && std::equal(given.begin(), given.end(), last->begin(), equal);
    if (!same) last = given;
    return Value(!same);
  }
  if (given.empty()) fail("loop.cycle: no items for cycling given");
  return given[loop.index % given.size()];
}

}  // namespace latent8::jinja
