#pragma once
// Evaluation of a syntax tree. Used by jinja.cpp and the operators only.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/functions.h"

namespace latent8::jinja {

// Names and values of one block; lookups go on in the enclosing scope.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> enclosing) : parent(std::move(enclosing)) {}
  const Value* find(std::string_view name) const;
  void set(const std::string& name, Value value);

  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> names;
};

struct Macro {
  const Statement* definition;  // owned by the template, which outlives a rendering
  std::weak_ptr<Scope> scope;   // weak: the scope holds the macro
};

// What `loop` is in one iteration.
struct LoopState {
  std::shared_ptr<const std::vector<Value>> items;  // shared by the iterations
  std::size_t index;
};

class Interpreter {
 public:
  explicit Interpreter(std::vector<std::pair<std::string, Value>> globals);
  std::string render(const Body& body);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  // One level of bodies, expressions and macro calls; bounds the stack that a template can use.
  class Nesting {
   public:
    explicit Nesting(Interpreter& interpreter) : interpreter_(interpreter) {
      if (++interpreter_.depth_ > kMaxNesting)
        fail("the template nests more than {} levels deep", kMaxNesting);
    }
    ~Nesting() { --interpreter_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    static constexpr int kMaxNesting = 1000;
    Interpreter& interpreter_;
  };

  Flow run(const Body& body);
  Flow run(const Statement& statement);
  Flow run_for(const Statement& loop);
  Flow run_with(const Statement& with);
  void run_set(const Statement& set);
  std::string capture(const Body& body);
  void assign(const Target& target, Value value);
  void output(std::string_view text);

  Value evaluate(const Expression& expression);
  Value evaluate_items(const Expression& expression);
  Value evaluate_compare(const Expression& compare);
  Value evaluate_concat(const Expression& concat);
  Value evaluate_slice(const Expression& expression);
  Value evaluate_filter(const Expression& filter);
  Value negate(const Value& value);
  Arguments evaluate_arguments(const Expression& call);
  Value call(const Value& callee, const Arguments& arguments, const Expression& where);
  Value call_builtin(const std::string& name, const Arguments& arguments);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  Value call_loop(const LoopState& loop, const std::string& name, const Arguments& arguments);

  std::shared_ptr<Scope> scope_;
  std::string out_;
  std::string block_text_;  // input of a filter block
  Budget budget_;
  int depth_ = 0;
};

}  // namespace latent8::jinja
