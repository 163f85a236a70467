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
  kCall,       // arguments: callee, positional ...; keywords
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
  kText,      // text
  kOutput,    // value
  kFor,       // target, value, condition (may be null), body, otherwise
  kIf,        // value, body, otherwise
  kSet,       // target, value
  kSetBlock,  // target, body, value: a chain of filters (may be null)
  kMacro,     // text: name; parameters; body
  kFilter,    // value: a chain of filters; body
  kWith,      // targets and values in parameters; body
  kScope,     // body in a scope of its own
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
};

}  // namespace latent8::jinja
