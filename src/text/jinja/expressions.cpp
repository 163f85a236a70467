// The expression half of the parser; precedence as in Jinja2.

#include <array>

#include "text/jinja/functions.h"
#include "text/jinja/parser.h"
#include "text/jinja/parser_depth.h"

namespace latent8::jinja {

ExpressionPtr Parser::make(ExpressionKind kind, std::string text) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = current().line;
  node->text = std::move(text);
  return node;
}

ExpressionPtr Parser::make(ExpressionKind kind, std::string text, ExpressionPtr first,
                           ExpressionPtr second) const {
  auto node = make(kind, std::move(text));
  node->arguments.push_back(std::move(first));
  if (second != nullptr) node->arguments.push_back(std::move(second));
  return node;
}

ExpressionPtr Parser::expression_or_tuple() {
  ExpressionPtr first = expression();
  if (!current().is_op(",")) return first;
  auto tuple = make(ExpressionKind::kTuple, "", std::move(first));
  while (skip_op(",")) {
    if (current().type == TokenType::kBlockEnd || current().type == TokenType::kVariableEnd ||
        current().is_op(")")) {
      break;
    }
    tuple->arguments.push_back(expression());
  }
  return tuple;
}

ExpressionPtr Parser::expression() {
  const Depth depth(*this);
  ExpressionPtr value = parse_or();
  while (skip_name("if")) {
    auto choice = make(ExpressionKind::kIf);
    choice->arguments.push_back(parse_or());
    choice->arguments.push_back(std::move(value));
    choice->arguments.push_back(skip_name("else") ? expression() : nullptr);
    value = std::move(choice);
  }
  return value;
}

ExpressionPtr Parser::without_condition() {
  const Depth depth(*this);
  return parse_or();
}

ExpressionPtr Parser::parse_or() {
  ExpressionPtr left = parse_and();
  while (skip_name("or")) left = make(ExpressionKind::kOr, "", std::move(left), parse_and());
  return left;
}

ExpressionPtr Parser::parse_and() {
  ExpressionPtr left = parse_not();
  while (skip_name("and")) left = make(ExpressionKind::kAnd, "", std::move(left), parse_not());
  return left;
}

ExpressionPtr Parser::parse_not() {
  if (!skip_name("not")) return parse_compare();
  const Depth depth(*this);
  return make(ExpressionKind::kNot, "", parse_not());
}

ExpressionPtr Parser::parse_compare() {
  ExpressionPtr first = parse_sum();
  ExpressionPtr compare;
  for (;;) {
    std::string op;
    if (current().type == TokenType::kOperator &&
        std::string_view("== != < <= > >=").find(current().text) != std::string_view::npos &&
        current().text != "=") {
      op = take().text;
    } else if (skip_name("in")) {
      op = "in";
    } else if (current().is_name("not") && ahead().is_name("in")) {
      at_ += 2;
      op = "not in";
    } else {
      return compare != nullptr ? std::move(compare) : std::move(first);
    }
    if (compare == nullptr) compare = make(ExpressionKind::kCompare, "", std::move(first));
    compare->operators.push_back(op);
    compare->arguments.push_back(parse_sum());
  }
}

ExpressionPtr Parser::parse_sum() {
  ExpressionPtr left = parse_concat();
  while (current().is_op("+") || current().is_op("-")) {
    std::string op = take().text;
    left = make(ExpressionKind::kBinary, std::move(op), std::move(left), parse_concat());
  }
  return left;
}

ExpressionPtr Parser::parse_concat() {
  ExpressionPtr first = parse_product();
  if (!current().is_op("~")) return first;
  auto concat = make(ExpressionKind::kConcat, "", std::move(first));
  while (skip_op("~")) concat->arguments.push_back(parse_product());
  return concat;
}

ExpressionPtr Parser::parse_product() {
  ExpressionPtr left = parse_power();
  while (current().is_op("*") || current().is_op("/") || current().is_op("//") || current().is_op("%")) {
    std::string op = take().text;
    left = make(ExpressionKind::kBinary, std::move(op), std::move(left), parse_power());
  }
  return left;
}

ExpressionPtr Parser::parse_power() {
  ExpressionPtr left = parse_unary(true);
  while (skip_op("**")) left = make(ExpressionKind::kBinary, "**", std::move(left), parse_unary(true));
  return left;
}

ExpressionPtr Parser::parse_unary(bool with_filters) {
  const Depth depth(*this);
  ExpressionPtr value;
  if (skip_op("-")) {
    value = make(ExpressionKind::kNegate, "", parse_unary(false));
  } else if (skip_op("+")) {
    value = make(ExpressionKind::kPlus, "", parse_unary(false));
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters(std::move(value)) : std::move(value);
}

ExpressionPtr Parser::parse_primary() {
  const Token& token = current();
  if (token.type == TokenType::kName) {
    auto node = make(ExpressionKind::kName, token.text);
    ++at_;
    const std::string& word = node->text;
    if (word == "true" || word == "True" || word == "false" || word == "False") {
      node->kind = ExpressionKind::kConstant;
      node->constant = Value(word[0] == 't' || word[0] == 'T');
    } else if (word == "none" || word == "None") {
      node->kind = ExpressionKind::kConstant;
    } else {
      names_.insert(word);
    }
    return node;
  }
  auto node = make(ExpressionKind::kConstant);
  if (token.type == TokenType::kString) {
    std::string text;
    while (current().type == TokenType::kString) text += take().text;
    node->constant = Value(std::move(text));
  } else if (token.type == TokenType::kInteger) {
    node->constant = Value(take().integer);
  } else if (token.type == TokenType::kFloat) {
    node->constant = Value(take().real);
  } else if (skip_op("(")) {
    return parse_parenthesis();
  } else if (skip_op("[")) {
    return parse_list();
  } else if (skip_op("{")) {
    return parse_dict();
  } else {
    unexpected("an expression");
  }
  return node;
}

ExpressionPtr Parser::parse_parenthesis() {
  if (skip_op(")")) return make(ExpressionKind::kTuple);
  ExpressionPtr value = expression_or_tuple();
  expect_op(")");
  return value;
}

ExpressionPtr Parser::parse_list() {
  auto list = make(ExpressionKind::kList);
  while (!current().is_op("]")) {
    list->arguments.push_back(expression());
    if (!skip_op(",")) break;
  }
  expect_op("]");
  return list;
}

ExpressionPtr Parser::parse_dict() {
  auto dict = make(ExpressionKind::kDict);
  while (!current().is_op("}")) {
    dict->arguments.push_back(expression());
    expect_op(":");
    dict->arguments.push_back(expression());
    if (!skip_op(",")) break;
  }
  expect_op("}");
  return dict;
}

ExpressionPtr Parser::parse_postfix(ExpressionPtr value) {
  for (;;) {
    if (current().is_op(".") || current().is_op("[")) {
      value = parse_subscript(std::move(value));
    } else if (current().is_op("(")) {
      value = parse_call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr Parser::parse_filters(ExpressionPtr value) {
  for (;;) {
    if (current().is_op("|")) {
      value = parse_filter_chain(std::move(value));
    } else if (skip_name("is")) {
      value = parse_test(std::move(value));
    } else if (current().is_op("(")) {
      value = parse_call(std::move(value));
    } else {
      return value;
    }
  }
}

// One '|' and more. A null value stands for the text of a block.
ExpressionPtr Parser::parse_filter_chain(ExpressionPtr value) {
  do {
    ++at_;
    std::string name = expect_name();
    while (skip_op(".")) name += "." + expect_name();
    if (!is_filter(name)) note("filter", name);
    auto filter = make(ExpressionKind::kFilter, std::move(name), std::move(value));
    if (current().is_op("(")) call_arguments(*filter);
    value = std::move(filter);
  } while (current().is_op("|"));
  return value;
}

ExpressionPtr Parser::parse_test(ExpressionPtr value) {
  const bool negated = skip_name("not");
  if (current().type != TokenType::kName) unexpected("a test");
  std::string name = take().text;
  while (skip_op(".")) name += "." + expect_name();
  if (!is_test(name)) note("test", name);
  auto test = make(ExpressionKind::kTest, name, std::move(value));
  const Token& token = current();
  const bool operand = token.type == TokenType::kString || token.type == TokenType::kInteger ||
                       token.type == TokenType::kFloat || token.is_op("[") || token.is_op("{") ||
                       (token.type == TokenType::kName && !token.is_name("else") && !token.is_name("or") &&
                        !token.is_name("and") && !token.is_name("is") && !token.is_name("if"));
  if (token.is_op("(")) {
    call_arguments(*test);
  } else if (operand) {
    test->arguments.push_back(parse_postfix(parse_primary()));
  }
  return negated ? make(ExpressionKind::kNot, "", std::move(test)) : std::move(test);
}

ExpressionPtr Parser::parse_subscript(ExpressionPtr value) {
  if (skip_op(".")) {
    if (current().type == TokenType::kInteger) {
      auto key = make(ExpressionKind::kConstant);
      key->constant = Value(take().integer);
      return make(ExpressionKind::kItem, "", std::move(value), std::move(key));
    }
    return make(ExpressionKind::kAttribute, expect_name(), std::move(value));
  }
  expect_op("[");
  std::array<ExpressionPtr, 3> parts;
  std::size_t colons = 0;
  while (!current().is_op("]")) {
    if (skip_op(":")) {
      if (++colons > 2) unexpected("']'");
    } else if (parts[colons] == nullptr) {
      parts[colons] = expression();
    } else {
      unexpected("']'");
    }
  }
  if (colons == 0 && parts[0] == nullptr) unexpected("a subscript");
  expect_op("]");
  if (colons == 0) return make(ExpressionKind::kItem, "", std::move(value), std::move(parts[0]));
  auto slice = make(ExpressionKind::kSlice, "", std::move(value));
  for (auto& part : parts) slice->arguments.push_back(std::move(part));
  return slice;
}

ExpressionPtr Parser::parse_call(ExpressionPtr callee) {
  auto call = make(ExpressionKind::kCall, "", std::move(callee));
  call_arguments(*call);
  return call;
}

// Positional arguments, *list, name=value, **dict.
void Parser::call_arguments(Expression& call) {
  expect_op("(");
  while (!current().is_op(")")) {
    const bool keywords = !call.keywords.empty() || call.spread_keywords != nullptr;
    if (skip_op("*")) {
      if (call.spread != nullptr || call.spread_keywords != nullptr) unexpected("one '*' before any '**'");
      call.spread = expression();
    } else if (skip_op("**")) {
      if (call.spread_keywords != nullptr) unexpected("one '**'");
      call.spread_keywords = expression();
    } else if (current().type == TokenType::kName && ahead().is_op("=")) {
      if (call.spread_keywords != nullptr) unexpected("')' after '**'");
      std::string name = expect_name();
      ++at_;
      call.keywords.emplace_back(std::move(name), expression());
    } else {
      if (keywords || call.spread != nullptr) unexpected("a keyword argument");
      call.arguments.push_back(expression());
    }
    if (!skip_op(",")) break;
  }
  expect_op(")");
}

}  // namespace latent8::jinja
