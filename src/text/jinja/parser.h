#pragma once
// Tokens to syntax tree.

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace latent8::jinja {

struct ParsedTemplate {
  Body body;
  std::set<std::string> names;     // that are read
  std::vector<std::string> notes;  // what would fail if it were reached, with the line
};

// Parses one template. Used once; the tree does not refer to it.
class Parser {
 public:
  // name stands for the template in messages.
  Parser(std::string_view source, std::string_view name);

  // Throws: Error{kInvalidArgument} with the line for what is no template.
  ParsedTemplate parse();

 private:
  class Depth;

  // Statements (statements.cpp).
  Body body(std::initializer_list<std::string_view> ends);
  void statement(Body& out);
  Statement for_statement();
  Statement if_statement();
  Statement set_statement();
  Statement macro_statement();
  Statement call_statement();
  Statement unsupported_statement(const std::string& word);
  void parameters(Statement& macro);
  void macro_body(Statement& macro, std::string_view end);
  Statement filter_statement();
  Statement with_statement();
  Target target(bool attributes);
  Target target_item(bool attributes);
  void end_block(std::string_view word);

  // Expressions (expressions.cpp).
  ExpressionPtr expression();
  ExpressionPtr expression_or_tuple();
  ExpressionPtr without_condition();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_parenthesis();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr value);
  ExpressionPtr parse_filters(ExpressionPtr value);
  ExpressionPtr parse_filter_chain(ExpressionPtr value);
  ExpressionPtr parse_test(ExpressionPtr value);
  ExpressionPtr parse_subscript(ExpressionPtr value);
  ExpressionPtr parse_call(ExpressionPtr callee);
  void call_arguments(Expression& call);
  ExpressionPtr make(ExpressionKind kind, std::string text = "") const;
  ExpressionPtr make(ExpressionKind kind, std::string text, ExpressionPtr first,
                     ExpressionPtr second = nullptr) const;

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  std::string expect_name();
  [[noreturn]] void unexpected(std::string_view wanted) const;
  [[noreturn]] void refuse(std::string_view what) const;
  void note(std::string_view what, std::string_view name);

  std::string name_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  std::set<std::string> names_;
  std::vector<std::string> notes_;
  int depth_ = 0;
  int loops_ = 0;
};

}  // namespace latent8::jinja
