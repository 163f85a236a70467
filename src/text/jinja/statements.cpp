// The statement half of the parser.

#include <algorithm>

#include "text/jinja/parser.h"
#include "text/jinja/parser_depth.h"

namespace latent8::jinja {

Parser::Parser(std::string_view source, std::string_view name)
    : name_(name), tokens_(tokenize(source, name)) {}

Body Parser::parse() { return body({}); }

bool Parser::skip_op(std::string_view op) {
  if (!current().is_op(op)) return false;
  ++at_;
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  ++at_;
  return true;
}

void Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) unexpected(op);
}

std::string Parser::expect_name() {
  if (current().type != TokenType::kName) unexpected("a name");
  return take().text;
}

void Parser::unexpected(std::string_view wanted) const {
  const Token& token = current();
  const std::string got = token.type == TokenType::kEnd ? "the end"
                          : token.type == TokenType::kBlockEnd || token.type == TokenType::kVariableEnd
                              ? "end of tag"
                              : "'" + token.text + "'";
  throw_error(ErrorCode::kInvalidArgument, "{} line {}: {} expected, got {}", name_, token.line, wanted, got);
}

void Parser::unsupported(std::string_view what, std::string_view name) const {
  throw_error(ErrorCode::kUnsupported, "{} line {}: {} '{}' is not supported", name_, current().line, what,
              name);
}

void Parser::end_block(std::string_view word) {
  if (!skip_name(word)) unexpected(word);
  if (current().type != TokenType::kBlockEnd) unexpected("end of tag");
  ++at_;
}

// Statements up to a tag that starts with one of ends, which is left with its word current.
Body Parser::body(std::initializer_list<std::string_view> ends) {
  const Depth depth(*this);
  Body out;
  for (;;) {
    const Token& token = current();
    if (token.type == TokenType::kData) {
      Statement text{StatementKind::kText, token.line};
      text.text = take().text;
      out.push_back(std::move(text));
    } else if (token.type == TokenType::kVariableBegin) {
      Statement output{StatementKind::kOutput, token.line};
      ++at_;
      output.value = expression_or_tuple();
      if (current().type != TokenType::kVariableEnd) unexpected("'}}'");
      ++at_;
      out.push_back(std::move(output));
    } else if (token.type == TokenType::kBlockBegin) {
      ++at_;
      if (std::any_of(ends.begin(), ends.end(),
                      [&](std::string_view end) { return current().is_name(end); })) {
        return out;
      }
      statement(out);
    } else {
      if (ends.size() > 0) unexpected(*ends.begin());
      return out;
    }
  }
}

void Parser::statement(Body& out) {
  const int line = current().line;
  if (current().type != TokenType::kName) unexpected("a statement");
  const std::string word = take().text;
  const auto finish = [&] {
    if (current().type != TokenType::kBlockEnd) unexpected("end of tag");
    ++at_;
  };
  if (word == "for") {
    out.push_back(for_statement());
  } else if (word == "if") {
    out.push_back(if_statement());
  } else if (word == "set") {
    out.push_back(set_statement());
  } else if (word == "macro") {
    out.push_back(macro_statement());
  } else if (word == "filter") {
    out.push_back(filter_statement());
  } else if (word == "with") {
    out.push_back(with_statement());
  } else if (word == "generation") {  // marks the assistant's text for training; its output is its body
    finish();
    Statement scope{StatementKind::kScope, line};
    scope.body = body({"endgeneration"});
    end_block("endgeneration");
    out.push_back(std::move(scope));
  } else if (word == "break" || word == "continue") {
    if (loops_ == 0) unsupported("outside of a loop the statement", word);
    finish();
    out.push_back(Statement{word == "break" ? StatementKind::kBreak : StatementKind::kContinue, line});
  } else if (word.starts_with("end") || word == "else" || word == "elif") {
    --at_;
    unexpected("another statement");
  } else {
    unsupported("the statement", word);
  }
  out.back().line = line;
}

Target Parser::target_item(bool attributes) {
  if (skip_op("(")) {
    Target inner = target(false);
    expect_op(")");
    return inner;
  }
  Target item;
  item.name = expect_name();
  if (attributes && skip_op(".")) item.attribute = expect_name();
  return item;
}

Target Parser::target(bool attributes) {
  const Depth depth(*this);
  Target first = target_item(attributes);
  if (!current().is_op(",")) return first;
  Target all;
  all.unpacked.push_back(std::move(first));
  while (skip_op(",")) {
    if (current().type != TokenType::kName && !current().is_op("(")) break;
    all.unpacked.push_back(target_item(attributes));
  }
  return all;
}

Statement Parser::for_statement() {
  Statement loop{StatementKind::kFor};
  loop.target = target(false);
  if (!skip_name("in")) unexpected("'in'");
  loop.value = without_condition();
  if (current().is_op(",")) {  // {% for x in 1, 2 %}
    auto tuple = make(ExpressionKind::kTuple);
    tuple->arguments.push_back(std::move(loop.value));
    while (skip_op(",")) tuple->arguments.push_back(without_condition());
    loop.value = std::move(tuple);
  }
  if (skip_name("if")) loop.condition = expression();
  if (current().is_name("recursive")) unsupported("the loop modifier", "recursive");
  if (current().type != TokenType::kBlockEnd) unexpected("end of tag");
  ++at_;
  ++loops_;
  loop.body = body({"endfor", "else"});
  --loops_;
  if (current().is_name("else")) {
    end_block("else");
    loop.otherwise = body({"endfor"});
  }
  end_block("endfor");
  return loop;
}

Statement Parser::if_statement() {
  const Depth depth(*this);
  Statement branch{StatementKind::kIf};
  branch.value = expression_or_tuple();
  if (current().type != TokenType::kBlockEnd) unexpected("end of tag");
  ++at_;
  branch.body = body({"endif", "elif", "else"});
  if (current().is_name("elif")) {
    const int line = take().line;
    branch.otherwise.push_back(if_statement());  // it takes the endif
    branch.otherwise.back().line = line;
    return branch;
  }
  if (current().is_name("else")) {
    end_block("else");
    branch.otherwise = body({"endif"});
  }
  end_block("endif");
  return branch;
}

Statement Parser::set_statement() {
  Statement set{StatementKind::kSet};
  set.target = target(true);
  if (skip_op("=")) {
    set.value = expression_or_tuple();
    if (current().type != TokenType::kBlockEnd) unexpected("end of tag");
    ++at_;
    return set;
  }
  set.kind = StatementKind::kSetBlock;
  if (current().is_op("|")) set.value = parse_filter_chain(nullptr);
  if (current().type != TokenType::kBlockEnd) unexpected("'=' or end of tag");
  ++at_;
  set.body = body({"endset"});
  end_block("endset");
  return set;
}

Statement Parser::macro_statement() {
  Statement macro{StatementKind::kMacro};
  macro.text = expect_name();
  expect_op("(");
  while (!current().is_op(")")) {
    std::string name = expect_name();
    ExpressionPtr fallback;
    if (skip_op("=")) fallback = expression();
    macro.parameters.emplace_back(std::move(name), std::move(fallback));
    if (!skip_op(",")) break;
  }
  expect_op(")");
  if (current().type != TokenType::kBlockEnd) unexpected("end of tag");
  ++at_;
  const int outer_loops = std::exchange(loops_, 0);
  macro.body = body({"endmacro"});
  loops_ = outer_loops;
  end_block("endmacro");
  return macro;
}

Statement Parser::filter_statement() {
  Statement filter{StatementKind::kFilter};
  --at_;  // parse_filter_chain steps over a '|'; here the statement's word stands in its place
  filter.value = parse_filter_chain(nullptr);
  if (current().type != TokenType::kBlockEnd) unexpected("end of tag");
  ++at_;
  filter.body = body({"endfilter"});
  end_block("endfilter");
  return filter;
}

Statement Parser::with_statement() {
  Statement with{StatementKind::kWith};
  while (current().type == TokenType::kName) {
    std::string name = expect_name();
    expect_op("=");
    with.parameters.emplace_back(std::move(name), expression());
    if (!skip_op(",")) break;
  }
  if (current().type != TokenType::kBlockEnd) unexpected("end of tag");
  ++at_;
  with.body = body({"endwith"});
  end_block("endwith");
  return with;
}

}  // namespace latent8::jinja
