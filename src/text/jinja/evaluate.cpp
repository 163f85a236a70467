// Expressions.

#include "text/jinja/interpreter.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {

Value Interpreter::evaluate(const Expression& expression) {
  const Expression& e = expression;
  const Budget::Nesting nesting;
  step();
  switch (e.kind) {
    case ExpressionKind::kConstant:
      return e.constant;
    case ExpressionKind::kName: {
      const Value* found = scope_->find(e.text);
      return found != nullptr ? *found : Value::undefined(fmt::format("'{}' is undefined", e.text));
    }
    case ExpressionKind::kList:
    case ExpressionKind::kTuple:
    case ExpressionKind::kDict:
      return evaluate_items(e);
    case ExpressionKind::kNegate:
    case ExpressionKind::kPlus: {
      const Value value = evaluate(*e.arguments[0]);
      return e.kind == ExpressionKind::kNegate ? negate(value) : binary("+", Value(std::int64_t{0}), value);
    }
    case ExpressionKind::kNot:
      return Value(!evaluate(*e.arguments[0]).truthy());
    case ExpressionKind::kBinary: {
      const Value left = evaluate(*e.arguments[0]);
      return binary(e.text, left, evaluate(*e.arguments[1]));
    }
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr: {
      Value left = evaluate(*e.arguments[0]);
      return left.truthy() == (e.kind == ExpressionKind::kOr) ? left : evaluate(*e.arguments[1]);
    }
    case ExpressionKind::kCompare:
      return evaluate_compare(e);
    case ExpressionKind::kConcat:
      return evaluate_concat(e);
    case ExpressionKind::kIf: {
      if (evaluate(*e.arguments[0]).truthy()) return evaluate(*e.arguments[1]);
      if (e.arguments[2] != nullptr) return evaluate(*e.arguments[2]);
      return Value::undefined(fmt::format("the inline if in line {} has no else", e.line));
    }
    case ExpressionKind::kAttribute:
      return get_attribute(evaluate(*e.arguments[0]), e.text);
    case ExpressionKind::kItem: {
      const Value object = evaluate(*e.arguments[0]);
      return get_item(object, evaluate(*e.arguments[1]));
    }
    case ExpressionKind::kSlice:
      return evaluate_slice(e);
    case ExpressionKind::kCall: {
      const Value callee = evaluate(*e.arguments[0]);
      return call(callee, evaluate_arguments(e));
    }
    case ExpressionKind::kFilter:
      return evaluate_filter(e);
    case ExpressionKind::kTest: {
      const Value value = evaluate(*e.arguments[0]);
      return Value(call_test(e.text, value, evaluate_arguments(e)));
    }
  }
  return Value();
}

Value Interpreter::evaluate_items(const Expression& expression) {
  if (expression.kind == ExpressionKind::kDict) {
    Dict dict;
    for (std::size_t i = 0; i < expression.arguments.size(); i += 2) {
      const Value key = evaluate(*expression.arguments[i]);
      dict.set(key, evaluate(*expression.arguments[i + 1]));
    }
    return Value::dict(std::move(dict));
  }
  Vector<Value> items;
  for (const auto& argument : expression.arguments) items.push_back(evaluate(*argument));
  return expression.kind == ExpressionKind::kList ? Value::list(std::move(items))
                                                  : Value::tuple(std::move(items));
}

Value Interpreter::evaluate_compare(const Expression& e) {
  Value left = evaluate(*e.arguments[0]);
  for (std::size_t i = 0; i < e.operators.size(); ++i) {
    Value right = evaluate(*e.arguments[i + 1]);
    if (!compare(e.operators[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::evaluate_concat(const Expression& e) {
  String text;
  for (const auto& argument : e.arguments) text += evaluate(*argument).str();
  return Value(std::move(text));
}

Value Interpreter::evaluate_slice(const Expression& e) {
  const Value object = evaluate(*e.arguments[0]);
  Value bounds[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (e.arguments[i + 1] != nullptr) bounds[i] = evaluate(*e.arguments[i + 1]);
  }
  return slice(object, bounds[0], bounds[1], bounds[2]);
}

Value Interpreter::evaluate_filter(const Expression& e) {
  const Value value = e.arguments[0] != nullptr ? evaluate(*e.arguments[0]) : Value(std::move(block_text_));
  return call_filter(e.text, value, evaluate_arguments(e));
}

Arguments Interpreter::evaluate_arguments(const Expression& call) {
  Arguments arguments;
  for (std::size_t i = 1; i < call.arguments.size(); ++i)
    arguments.positional.push_back(evaluate(*call.arguments[i]));
  if (call.spread != nullptr) {
    for (Value& value : iterate(evaluate(*call.spread))) arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, value] : call.keywords)
    arguments.keywords.emplace_back(String(name.data(), name.size()), evaluate(*value));
  if (call.spread_keywords != nullptr) {
    const Value more = evaluate(*call.spread_keywords);
    if (!more.is_dict()) fail("'**' needs a dict, got a {}", more.type_name());
    for (const auto& [name, value] : more.dict_if()->items()) {
      if (!name.is_string()) fail("'**' needs keys that are str, got a {}", name.type_name());
      arguments.keywords.emplace_back(name.string(), value);
    }
  }
  return arguments;
}

}  // namespace latent8::jinja
