// Statements.

#include "text/jinja/interpreter.h"

#include "base/printable.h"
#include "text/jinja/strings.h"

namespace latent8::jinja {

const Value* Scope::find_here(std::string_view name) const {
  step(names.size() / 8);
  for (const auto& entry : names) {
    if (entry.first == name) return &entry.second;
  }
  return nullptr;
}

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    step();
    if (const Value* found = scope->find_here(name)) return found;
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  if (const Value* found = find_here(name)) {
    const_cast<Value&>(*found) = std::move(value);
    return;
  }
  names.emplace_back(name, std::move(value));
}

Interpreter::Interpreter(Vector<std::pair<std::string_view, Value>> globals)
    : scope_(make_counted<Scope>(nullptr)) {
  for (const char* name :
       {"range", "namespace", "dict", "raise_exception", "strftime_now", "cycler", "joiner", "lipsum"})
    scope_->set(name, Value::builtin(name));
  for (auto& [name, value] : globals) scope_->set(name, std::move(value));
}

// A namespace that holds itself would never be freed.
Interpreter::~Interpreter() {
  for (const auto& names : namespaces_) names->attributes = Dict();
}

String Interpreter::render(const Body& body) {
  run(body);
  return std::move(out_);
}

// Messages get the line of the innermost statement that failed, once.
void Interpreter::rethrow_with_line(const Error& error, int line) {
  if (std::exchange(located_, true)) throw Error(error);
  throw_error(error.code(), "line {}: {}", line, error.what());
}

Interpreter::Flow Interpreter::run(const Body& body) {
  const Budget::Nesting nesting;
  for (const Statement& statement : body) {
    try {
      step();
      const Flow flow = run(statement);
      if (flow != Flow::kNext) return flow;
    } catch (const Error& error) {
      rethrow_with_line(error, statement.line);
    }
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const Statement& statement) {
  switch (statement.kind) {
    case StatementKind::kText:
      append(out_, statement.text);
      break;
    case StatementKind::kOutput: {
      const Value value = evaluate(*statement.value);
      out_ += value.is_string() ? value.string() : value.str();
      break;
    }
    case StatementKind::kFor:
      return run_for(statement, evaluate(*statement.value), 0);
    case StatementKind::kIf:
      return run(evaluate(*statement.value).truthy() ? statement.body : statement.otherwise);
    case StatementKind::kSet:
    case StatementKind::kSetBlock:
      run_set(statement);
      break;
    case StatementKind::kMacro:
      scope_->set(statement.text, make_macro(statement, statement.text));
      break;
    case StatementKind::kCallBlock:
      run_call_block(statement);
      break;
    case StatementKind::kFilter:
      block_text_ = capture(statement.body);
      out_ += evaluate(*statement.value).str();
      break;
    case StatementKind::kWith:
    case StatementKind::kScope:
      return run_with(statement);
    case StatementKind::kUnsupported:
      throw_error(ErrorCode::kUnsupported, "{} is not supported", statement.text);
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_with(const Statement& with) {
  auto inner = make_counted<Scope>(scope_);
  for (const auto& [name, value] : with.parameters) inner->set(name, evaluate(*value));
  const ScopeGuard guard(*this, std::move(inner));
  return run(with.body);
}

Vector<Value> Interpreter::kept_items(const Statement& loop, Vector<Value> items) {
  if (loop.condition == nullptr) return items;
  Vector<Value> kept;
  for (Value& item : items) {
    const ScopeGuard guard(*this, make_counted<Scope>(scope_));
    assign(loop.target, item);
    if (evaluate(*loop.condition).truthy()) kept.push_back(std::move(item));
  }
  return kept;
}

Interpreter::Flow Interpreter::run_for(const Statement& loop, const Value& over, int depth0) {
  const auto items = make_counted<const Vector<Value>>(kept_items(loop, iterate(over)));
  if (items->empty()) {
    const ScopeGuard guard(*this, make_counted<Scope>(scope_));
    return run(loop.otherwise);
  }
  LoopState state;
  state.items = items;
  state.height = height_above(*items);
  state.depth0 = depth0;
  state.loop = loop.recursive ? &loop : nullptr;
  state.scope = scope_;
  state.changed = make_counted<std::optional<Vector<Value>>>();
  for (std::size_t i = 0; i < items->size(); ++i) {
    const ScopeGuard guard(*this, make_counted<Scope>(scope_));
    state.index = i;
    scope_->set("loop", Value(Value::Data(std::shared_ptr<const LoopState>(make_counted<LoopState>(state)))));
    assign(loop.target, (*items)[i]);
    if (run(loop.body) == Flow::kBreak) break;
  }
  return Flow::kNext;
}

String Interpreter::capture(const Body& body) {
  String outer_text = std::exchange(out_, String());
  {
    const ScopeGuard guard(*this, make_counted<Scope>(scope_));
    run(body);
  }
  std::swap(out_, outer_text);
  return outer_text;
}

void Interpreter::run_set(const Statement& set) {
  if (set.kind == StatementKind::kSet) return assign(set.target, evaluate(*set.value));
  String text = capture(set.body);
  if (set.value == nullptr) return assign(set.target, Value(std::move(text)));
  block_text_ = std::move(text);
  assign(set.target, evaluate(*set.value));
}

void Interpreter::run_call_block(const Statement& block) {
  const Expression& expression = *block.value;
  const Value callee = evaluate(*expression.arguments[0]);
  Arguments arguments = evaluate_arguments(expression);
  arguments.keywords.emplace_back("caller", make_macro(block, "caller"));
  out_ += call(callee, arguments).str();
}

void Interpreter::assign(const Target& target, Value value) {
  if (!target.unpacked.empty()) {
    Vector<Value> items = iterate(value);
    if (items.size() != target.unpacked.size()) {
      fail("{} values for {} names", items.size(), target.unpacked.size());
    }
    for (std::size_t i = 0; i < items.size(); ++i) assign(target.unpacked[i], std::move(items[i]));
    return;
  }
  if (target.attribute.empty()) return scope_->set(target.name, std::move(value));
  const Value* found = scope_->find(target.name);
  Namespace* names = found != nullptr ? found->namespace_if() : nullptr;
  if (names == nullptr)
    fail("'{}' is not a namespace, its attribute '{}' cannot be set", target.name, target.attribute);
  names->attributes.set(Value(target.attribute), std::move(value));
}

}  // namespace latent8::jinja
