#pragma once
// Evaluation of a syntax tree. Used by template.cpp only.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/functions.h"

namespace latent8::jinja {

// Names and values of one block; lookups go on in the enclosing scope. The names are those of the template
// and of the variables that it was given, which outlive a rendering.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> enclosing) : parent(std::move(enclosing)) {}
  const Value* find(std::string_view name) const;
  const Value* find_here(std::string_view name) const;
  void set(std::string_view name, Value value);

  std::shared_ptr<Scope> parent;
  Vector<std::pair<std::string_view, Value>> names;
};

// REQUIRES: a Budget lives on this thread.
class Interpreter {
 public:
  explicit Interpreter(Vector<std::pair<std::string_view, Value>> globals);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  String render(const Body& body);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  // Puts the scope back that was there, also when something is thrown.
  class ScopeGuard;

  Flow run(const Body& body);
  Flow run(const Statement& statement);
  Flow run_for(const Statement& loop, const Value& over, int depth0);
  Flow run_with(const Statement& with);
  void run_set(const Statement& set);
  void run_call_block(const Statement& block);
  String capture(const Body& body);
  void assign(const Target& target, Value value);
  Vector<Value> kept_items(const Statement& loop, Vector<Value> items);

  Value evaluate(const Expression& expression);
  Value evaluate_items(const Expression& expression);
  Value evaluate_compare(const Expression& compare);
  Value evaluate_concat(const Expression& concat);
  Value evaluate_slice(const Expression& expression);
  Value evaluate_filter(const Expression& filter);
  Arguments evaluate_arguments(const Expression& call);
  Value call(const Value& callee, const Arguments& arguments);
  Value call_builtin(std::string_view name, const Arguments& arguments);
  Value make_namespace(const Arguments& arguments);
  Value make_macro(const Statement& definition, std::string_view name);
  Value call_macro(const Callable& macro, const Arguments& arguments);
  Value call_loop(const LoopState& loop, const Arguments& arguments);
  Value call_loop_method(const LoopState& loop, std::string_view name, const Arguments& arguments);
  void bind_parameters(const Callable& macro, const Arguments& arguments);
  [[noreturn]] void rethrow_with_line(const Error& error, int line);

  std::shared_ptr<Scope> scope_;
  String out_;
  String block_text_;  // input of a filter block
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  bool located_ = false;  // the error under way has its line
};

class Interpreter::ScopeGuard {
 public:
  ScopeGuard(Interpreter& interpreter, std::shared_ptr<Scope> inner)
      : interpreter_(interpreter), outer_(std::exchange(interpreter.scope_, std::move(inner))) {}
  ~ScopeGuard() { interpreter_.scope_ = std::move(outer_); }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Interpreter& interpreter_;
  std::shared_ptr<Scope> outer_;
};

}  // namespace latent8::jinja
