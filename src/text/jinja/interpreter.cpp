#include "text/jinja/interpreter.h"

#include <ctime>

namespace latent8::jinja {
namespace {

// Messages get the line of the innermost expression or statement that failed, once.
[[noreturn]] void rethrow_with_line(const Error& error, int line) {
  const std::string_view message = error.what();
  if (message.starts_with("line ") || message.starts_with("raised by the template: ")) throw;
  throw_error(error.code(), "line {}: {}", line, message);
}

std::string now_text(const std::string& format) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::string text(1024, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &local));
  return text;
}

Value range(const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("range", arguments, {"start", "stop", "step"});
  const bool one = bound[1] == nullptr;
  const std::int64_t start = one ? 0 : bound.integer(0, 0);
  const std::int64_t stop = bound.integer(one ? 0 : 1, 0);
  const std::int64_t step = bound.integer(2, 1);
  if (step == 0) fail("range: a step of zero");
  constexpr std::int64_t kMaxRange = 100'000;  // Jinja2's sandbox has the same bound
  std::vector<Value> items;
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (static_cast<std::int64_t>(items.size()) == kMaxRange) fail("range: more than {} items", kMaxRange);
    items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  budget.items(items.size());
  return Value::list(std::move(items));
}

Value make_namespace(const Arguments& arguments) {
  auto names = std::make_shared<Dict>();
  names->is_namespace = true;
  for (const Value& value : arguments.positional) {
    if (!value.is_dict()) fail("namespace: a dict expected, got a {}", value.type_name());
    for (const auto& [key, item] : value.dict_ref().items) names->set(key, item);
  }
  for (const auto& [name, value] : arguments.keywords) names->set(Value(name), value);
  return Value(Value::Data(std::move(names)));
}

}  // namespace

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    for (const auto& entry : scope->names) {
      if (entry.first == name) return &entry.second;
    }
  }
  return nullptr;
}

void Scope::set(const std::string& name, Value value) {
  for (auto& entry : names) {
    if (entry.first == name) {
      entry.second = std::move(value);
      return;
    }
  }
  names.emplace_back(name, std::move(value));
}

Interpreter::Interpreter(std::vector<std::pair<std::string, Value>> globals)
    : scope_(std::make_shared<Scope>(nullptr)) {
  for (const char* name : {"range", "namespace", "raise_exception", "strftime_now"}) {
    scope_->set(name, Value(Value::Data(Builtin{name})));
  }
  for (auto& [name, value] : globals) scope_->set(name, std::move(value));
}

std::string Interpreter::render(const Body& body) {
  run(body);
  return std::move(out_);
}

void Interpreter::output(std::string_view text) {
  budget_.text(out_.size() + text.size() > out_.capacity() ? out_.size() + text.size() : text.size());
  out_ += text;
}

Interpreter::Flow Interpreter::run(const Body& body) {
  const Nesting nesting(*this);
  for (const Statement& statement : body) {
    budget_.step();
    try {
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
      output(statement.text);
      break;
    case StatementKind::kOutput:
      output(evaluate(*statement.value).str());
      break;
    case StatementKind::kFor:
      return run_for(statement);
    case StatementKind::kIf:
      return run(evaluate(*statement.value).truthy() ? statement.body : statement.otherwise);
    case StatementKind::kSet:
    case StatementKind::kSetBlock:
      run_set(statement);
      break;
    case StatementKind::kMacro:
      scope_->set(statement.text,
                  Value(Value::Data(std::make_shared<const Macro>(Macro{&statement, scope_}))));
      break;
    case StatementKind::kFilter:
      block_text_ = capture(statement.body);
      output(evaluate(*statement.value).str());
      break;
    case StatementKind::kWith:
    case StatementKind::kScope:
      return run_with(statement);
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_with(const Statement& with) {
  const std::shared_ptr<Scope> outer = scope_;
  auto inner = std::make_shared<Scope>(outer);
  for (const auto& [name, value] : with.parameters) inner->set(name, evaluate(*value));
  scope_ = std::move(inner);
  const Flow flow = run(with.body);
  scope_ = outer;
  return flow;
}

Interpreter::Flow Interpreter::run_for(const Statement& loop) {
  const std::shared_ptr<Scope> outer = scope_;
  std::vector<Value> items = iterate(evaluate(*loop.value));
  budget_.items(items.size());
  if (loop.condition != nullptr) {
    std::vector<Value> kept;
    for (Value& item : items) {
      scope_ = std::make_shared<Scope>(outer);
      assign(loop.target, item);
      if (evaluate(*loop.condition).truthy()) kept.push_back(std::move(item));
    }
    scope_ = outer;
    items = std::move(kept);
  }
  if (items.empty()) {
    scope_ = std::make_shared<Scope>(outer);
    const Flow flow = run(loop.otherwise);
    scope_ = outer;
    return flow;
  }
  const auto shared = std::make_shared<const std::vector<Value>>(std::move(items));
  for (std::size_t i = 0; i < shared->size(); ++i) {
    scope_ = std::make_shared<Scope>(outer);
    scope_->set("loop", Value(Value::Data(std::make_shared<const LoopState>(LoopState{shared, i}))));
    assign(loop.target, (*shared)[i]);
    const Flow flow = run(loop.body);
    if (flow == Flow::kBreak) break;
  }
  scope_ = outer;
  return Flow::kNext;
}

std::string Interpreter::capture(const Body& body) {
  std::string outer_text = std::exchange(out_, "");
  const std::shared_ptr<Scope> outer = scope_;
  scope_ = std::make_shared<Scope>(outer);
  run(body);
  scope_ = outer;
  std::swap(out_, outer_text);
  return outer_text;
}

void Interpreter::run_set(const Statement& set) {
  if (set.kind == StatementKind::kSet) return assign(set.target, evaluate(*set.value));
  std::string text = capture(set.body);
  if (set.value == nullptr) return assign(set.target, Value(std::move(text)));
  block_text_ = std::move(text);
  assign(set.target, evaluate(*set.value));
}

void Interpreter::assign(const Target& target, Value value) {
  if (!target.unpacked.empty()) {
    std::vector<Value> items = iterate(value);
    if (items.size() != target.unpacked.size()) {
      fail("{} values for {} names", items.size(), target.unpacked.size());
    }
    for (std::size_t i = 0; i < items.size(); ++i) assign(target.unpacked[i], std::move(items[i]));
    return;
  }
  if (target.attribute.empty()) return scope_->set(target.name, std::move(value));
  const Value* names = scope_->find(target.name);
  if (names == nullptr || !names->is_dict() || !names->dict_ref().is_namespace) {
    fail("'{}' is not a namespace, its attribute '{}' cannot be set", target.name, target.attribute);
  }
  names->dict_ref().set(Value(target.attribute), std::move(value));
}

Value Interpreter::call(const Value& callee, const Arguments& arguments, const Expression& where) {
  if (const auto* builtin = callee.get_if<Builtin>()) return call_builtin(builtin->name, arguments);
  if (const auto* macro = callee.get_if<std::shared_ptr<const Macro>>())
    return call_macro(**macro, arguments);
  if (const auto* method = callee.get_if<Method>()) {
    if (const auto* loop = method->object->get_if<std::shared_ptr<const LoopState>>()) {
      return call_loop(**loop, method->name, arguments);
    }
    return call_method(*method->object, method->name, arguments, budget_);
  }
  if (const auto* undefined = callee.get_if<Undefined>()) fail("{}", undefined->message);
  fail("a {} cannot be called{}", callee.type_name(), where.text);
}

Value Interpreter::call_builtin(const std::string& name, const Arguments& arguments) {
  if (name == "range") return range(arguments, budget_);
  if (name == "namespace") return make_namespace(arguments);
  if (name == "strftime_now") {
    return Value(now_text(BoundArguments(name, arguments, {"format"}).need(0).str()));
  }
  throw_error(ErrorCode::kInvalidArgument, "raised by the template: {}",
              BoundArguments(name, arguments, {"message"}).need(0).str());
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  const Nesting nesting(*this);
  const Statement& definition = *macro.definition;
  const std::shared_ptr<Scope> caller = scope_;
  const std::shared_ptr<Scope> enclosing = macro.scope.lock();
  if (enclosing == nullptr)
    fail("macro '{}' is called outside of the block that defines it", definition.text);
  if (arguments.positional.size() > definition.parameters.size()) {
    fail("macro '{}': at most {} arguments expected, got {}", definition.text, definition.parameters.size(),
         arguments.positional.size());
  }
  scope_ = std::make_shared<Scope>(enclosing);
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    scope_->set(definition.parameters[i].first, arguments.positional[i]);
  }
  for (const auto& [name, value] : arguments.keywords) {
    bool known = false;
    for (std::size_t i = arguments.positional.size(); i < definition.parameters.size(); ++i) {
      known = known || definition.parameters[i].first == name;
    }
    if (!known) fail("macro '{}': unexpected argument '{}'", definition.text, name);
    scope_->set(name, value);
  }
  for (const auto& [name, fallback] : definition.parameters) {
    bool given = false;
    for (const auto& entry : scope_->names) given = given || entry.first == name;
    if (given) continue;
    scope_->set(name, fallback != nullptr
                          ? evaluate(*fallback)
                          : Value::undefined(fmt::format("parameter '{}' was not provided", name)));
  }
  std::string text = capture(definition.body);
  scope_ = caller;
  return Value(std::move(text));
}

Value Interpreter::call_loop(const LoopState& loop, const std::string& name, const Arguments& arguments) {
  if (name != "cycle" || arguments.positional.empty()) {
    throw_error(ErrorCode::kUnsupported, "loop.{} with {} arguments is not supported", name,
                arguments.positional.size());
  }
  return arguments.positional[loop.index % arguments.positional.size()];
}

}  // namespace latent8::jinja
