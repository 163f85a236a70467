#pragma once
// The syntax tree of a template.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace latent8::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class ExpressionKind {
  kConstant,
  kName,
  kList,       // arguments
  kTuple,      // arguments
  kDict,       // arguments: key, value, key, value ...
  kNegate,     // arguments: operand
  kPlus,       // arguments: operand
  kNot,        // arguments: operand
  kBinary,     // text: operator; arguments: left, right
  kAnd,        // arguments: left, right
  kOr,         // arguments: left, right
  kCompare,    // arguments: operands; operators between them
  kConcat,     // arguments
  kIf,         // arguments: condition, then, otherwise (may be null)
  kAttribute,  // text: name; arguments: object
  kItem,       // arguments: object, key
  kSlice,      // arguments: object, start, stop, step (each may be null)
  kCall,       // arguments: callee, positional ...; keywords; spread
  kFilter,     // text: name; arguments: value (null in a filter block), positional ...; keywords
  kTest,       // text: name; arguments: value, positional ...
};

struct Expression {
  ExpressionKind kind;
  int line = 0;
  std::string text;
  Value constant;
  std::vector<ExpressionPtr> arguments;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  std::vector<std::string> operators;
  ExpressionPtr spread;           // *arguments of a call
  ExpressionPtr spread_keywords;  // **arguments of a call
};

// What a for or set assigns to: a name, a name's attribute, or several targets at once.
struct Target {
  std::string name;
  std::string attribute;         // of a namespace; empty: the name itself
  std::vector<Target> unpacked;  // not empty: a tuple
};

struct Statement;
using Body = std::vector<Statement>;

enum class StatementKind {
  kText,         // text
  kOutput,       // value
  kFor,          // target, value, condition (may be null), recursive, body, otherwise
  kIf,           // value, body, otherwise
  kSet,          // target, value
  kSetBlock,     // target, body, value: a chain of filters (may be null)
  kMacro,        // text: name; parameters; body; uses_...
  kCallBlock,    // value: the call; the rest as of a macro, which the callee knows as caller
  kFilter,       // value: a chain of filters; body
  kWith,         // targets and values in parameters; body
  kScope,        // body in a scope of its own
  kUnsupported,  // text: what fails if it is run
  kBreak,
  kContinue,
};

struct Statement {
  StatementKind kind;
  int line = 0;
  std::string text;
  Target target;
  ExpressionPtr value;
  ExpressionPtr condition;
  Body body;
  Body otherwise;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // name, default or value (may be null)
  bool recursive = false;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

}  // namespace latent8::jinja
