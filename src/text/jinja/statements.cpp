// The statement half of the parser.

#include <algorithm>

#include "base/printable.h"
#include "text/jinja/parser.h"
#include "text/jinja/parser_depth.h"

namespace latent8::jinja {

Parser::Parser(std::string_view source, std::string_view name)
    : name_(name), tokens_(tokenize(source, name)) {}

ParsedTemplate Parser::parse() {
  ParsedTemplate out;
  out.body = body({});
  out.names = std::move(names_);
  out.notes = std::move(notes_);
  return out;
}

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
                              : "'" + printable(token.text) + "'";
  throw_error(ErrorCode::kInvalidArgument, "{} line {}: {} expected, got {}", name_, token.line, wanted, got);
}

void Parser::refuse(std::string_view what) const {
  throw_error(ErrorCode::kInvalidArgument, "{} line {}: {}", name_, current().line, what);
}

// Jinja2 would fail at what is not known only where it is reached; so do we.
void Parser::note(std::string_view what, std::string_view name) {
  notes_.push_back(
      fmt::format("line {}: the {} '{}' is not supported", current().line, what, printable(name)));
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
  } else if (word == "call") {
    out.push_back(call_statement());
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
    if (loops_ == 0) refuse(fmt::format("'{}' outside of a loop", word));
    finish();
    out.push_back(Statement{word == "break" ? StatementKind::kBreak : StatementKind::kContinue, line});
  } else if (word.starts_with("end") || word == "else" || word == "elif") {
    --at_;
    unexpected("another statement");
  } else if (word == "include" || word == "import" || word == "from" || word == "extends") {
    out.push_back(unsupported_statement(word));
  } else {
    refuse(fmt::format("the statement '{}' is not known", printable(word)));
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
  loop.recursive = skip_name("recursive");
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

// (name, name=default ...)
void Parser::parameters(Statement& macro) {
  expect_op("(");
  while (!current().is_op(")")) {
    std::string name = expect_name();
    ExpressionPtr fallback;
    if (skip_op("=")) {
      fallback = expression();
    } else if (!macro.parameters.empty() && macro.parameters.back().second != nullptr) {
      refuse("a parameter without a default follows one with a default");
    }
    macro.parameters.emplace_back(std::move(name), std::move(fallback));
    if (!skip_op(",")) break;
  }
  expect_op(")");
}

void Parser::macro_body(Statement& macro, std::string_view end) {
  if (current().type != TokenType::kBlockEnd) unexpected("end of tag");
  ++at_;
  const int outer_loops = std::exchange(loops_, 0);
  std::set<std::string> outer_names = std::exchange(names_, {});
  macro.body = body({end});
  loops_ = outer_loops;
  macro.uses_caller = names_.contains("caller");
  macro.uses_varargs = names_.contains("varargs");
  macro.uses_kwargs = names_.contains("kwargs");
  names_.merge(outer_names);
  end_block(end);
}

Statement Parser::macro_statement() {
  Statement macro{StatementKind::kMacro};
  macro.text = expect_name();
  parameters(macro);
  macro_body(macro, "endmacro");
  return macro;
}

Statement Parser::call_statement() {
  Statement block{StatementKind::kCallBlock};
  if (current().is_op("(")) parameters(block);
  block.value = expression();
  if (block.value->kind != ExpressionKind::kCall) unexpected("a call");
  macro_body(block, "endcall");
  return block;
}

// A tag that stands alone, whatever it holds.
Statement Parser::unsupported_statement(const std::string& word) {
  Statement statement{StatementKind::kUnsupported};
  statement.text = fmt::format("the statement '{}'", word);
  note("statement", word);
  while (current().type != TokenType::kBlockEnd) {
    if (current().type == TokenType::kEnd) unexpected("end of tag");
    ++at_;
  }
  ++at_;
  return statement;
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
