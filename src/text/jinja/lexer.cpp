#include "text/jinja/lexer.h"

#include <charconv>

#include "base/error.h"
#include "base/printable.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// \r\n and \r become \n; one newline at the end goes.
std::string normalise(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// Bounds the depth of the tree that one tag can build.
constexpr std::size_t kMaxTagTokens = 4000;

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view name) : source_(normalise(source)), name_(name) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const std::size_t open = next_opening();
      const bool found = open != std::string::npos;
      data(found ? open : source_.size(), found && source_[open + 1] != '{', found);
      if (!found) break;
      const char kind = source_[open + 1];
      advance(2);
      if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+')) advance(1);
      if (kind == '#') {
        comment();
      } else if (kind == '{') {
        tag(TokenType::kVariableBegin, TokenType::kVariableEnd, "}}");
      } else if (!raw()) {
        tag(TokenType::kBlockBegin, TokenType::kBlockEnd, "%}");
      }
    }
    push(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  template <class... Args>
  [[noreturn]] void error(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(ErrorCode::kInvalidArgument, "{} line {}: {}", name_, line_,
                fmt::format(format, std::forward<Args>(args)...));
  }

  void push(TokenType type, std::string text) { tokens_.push_back({type, std::move(text), line_}); }

  bool follows(std::string_view text) const {
    return std::string_view(source_).substr(at_).starts_with(text);
  }

  void advance(std::size_t count) {
    for (; count > 0 && at_ < source_.size(); --count) {
      if (source_[at_++] == '\n') ++line_;
    }
  }

  std::size_t next_opening() const {
    for (std::size_t i = source_.find('{', at_); i != std::string::npos && i + 1 < source_.size();
         i = source_.find('{', i + 1)) {
      if (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#') return i;
    }
    return std::string::npos;
  }

  // The text before a tag, stripped as the tag's sign says. block: the tag is not a {{.
  std::string stripped(std::size_t end, bool block, bool before_tag) const {
    std::string text = source_.substr(at_, end - at_);
    if (!before_tag) return text;
    const char sign = end + 2 < source_.size() ? source_[end + 2] : ' ';
    if (sign == '-') return std::string(strip_right(text));
    if (sign == '+' || !block) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t line_begin = newline == std::string::npos ? 0 : newline + 1;
    if ((line_begin > 0 || line_starting_) && strip_left(text.substr(line_begin)).empty())
      text.resize(line_begin);
    return text;
  }

  void data(std::size_t end, bool block, bool before_tag) {
    std::string text = stripped(end, block, before_tag);
    if (!text.empty()) push(TokenType::kData, std::move(text));
    advance(end - at_);
  }

  // Steps over an end delimiter of two characters at at_ with an optional sign before it.
  void close(bool trim_newline) {
    const bool minus = source_[at_] == '-';
    const bool plus = source_[at_] == '+';
    advance(minus || plus ? 3 : 2);
    const std::size_t begin = at_;
    if (minus) {
      while (at_ < source_.size()) {
        const Utf8Step step = utf8_front(std::string_view(source_).substr(at_));
        if (step.kind != Utf8Front::kCharacter || !is_python_space(step.code_point)) break;
        advance(step.length);
      }
    } else if (!plus && trim_newline && follows("\n")) {
      advance(1);
    }
    line_starting_ = at_ > begin && source_[at_ - 1] == '\n';
  }

  void comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) error("a comment is never closed");
    const bool sign = end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+');
    advance(end - at_ - (sign ? 1 : 0));
    close(true);
  }

  // {% raw %} ... {% endraw %}, at the position after "{%" and its sign; false if it is another tag.
  bool raw() {
    const std::size_t begin = word_tag_end(at_, "raw");
    if (begin == std::string::npos) return false;
    advance(begin - at_);
    close(false);
    for (std::size_t open = source_.find("{%", at_); open != std::string::npos;
         open = source_.find("{%", open + 2)) {
      std::size_t inside = open + 2;
      if (inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+')) ++inside;
      const std::size_t end = word_tag_end(inside, "endraw");
      if (end == std::string::npos) continue;
      data(open, true, true);
      advance(end - at_);
      close(true);
      return true;
    }
    error("a raw block is never closed");
  }

  // Position of the end delimiter of a tag that holds only `word`; npos if the tag holds something else.
  std::size_t word_tag_end(std::size_t at, std::string_view word) const {
    while (at < source_.size() && is_space(source_[at])) ++at;
    if (!std::string_view(source_).substr(at).starts_with(word)) return std::string::npos;
    at += word.size();
    while (at < source_.size() && is_space(source_[at])) ++at;
    const std::string_view rest = std::string_view(source_).substr(at);
    return rest.starts_with("%}") || rest.starts_with("-%}") || rest.starts_with("+%}") ? at
                                                                                        : std::string::npos;
  }

  void tag(TokenType begin, TokenType end, std::string_view delimiter) {
    push(begin, "");
    const std::size_t first = tokens_.size();
    const int opened = line_;
    std::string brackets;
    for (;;) {
      while (at_ < source_.size() && is_space(source_[at_])) advance(1);
      if (at_ >= source_.size()) {
        line_ = opened;
        error("a tag is never closed with '{}'", delimiter);
      }
      const std::string_view rest = std::string_view(source_).substr(at_);
      const bool signed_end = (rest[0] == '-' || (rest[0] == '+' && end == TokenType::kBlockEnd)) &&
                              rest.substr(1).starts_with(delimiter);
      if (brackets.empty() && (rest.starts_with(delimiter) || signed_end)) {
        push(end, "");
        close(end == TokenType::kBlockEnd);
        return;
      }
      if (tokens_.size() - first > kMaxTagTokens) error("a tag of more than {} tokens", kMaxTagTokens);
      expression_token(brackets);
    }
  }

  void expression_token(std::string& brackets) {
    const char c = source_[at_];
    if (is_name_start(c)) {
      std::size_t end = at_;
      while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) ++end;
      push(TokenType::kName, source_.substr(at_, end - at_));
      advance(end - at_);
    } else if (is_digit(c)) {
      number();
    } else if (c == '\'' || c == '"') {
      string(c);
    } else {
      operation(brackets);
    }
  }

  void number() {
    std::string digits;
    std::size_t end = at_;
    const auto take_digits = [&] {
      while (end < source_.size() && (is_digit(source_[end]) || (source_[end] == '_' && end > at_))) {
        if (source_[end] != '_') digits += source_[end];
        ++end;
      }
    };
    take_digits();
    bool real = false;
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      real = true;
      digits += '.';
      ++end;
      take_digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const bool sign = end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
      if (digit_at(end + (sign ? 2 : 1))) {
        real = true;
        digits += 'e';
        if (sign) digits += source_[end + 1];
        end += sign ? 2 : 1;
        take_digits();
      }
    }
    Token token{real ? TokenType::kFloat : TokenType::kInteger, digits, line_};
    const char* last = digits.data() + digits.size();
    const auto result = real ? std::from_chars(digits.data(), last, token.real)
                             : std::from_chars(digits.data(), last, token.integer);
    if (result.ec != std::errc() || result.ptr != last ||
        (end < source_.size() && is_name_start(source_[end]))) {
      error("'{}' is not a number that is supported", printable(source_.substr(at_, end + 1 - at_)));
    }
    tokens_.push_back(std::move(token));
    advance(end - at_);
  }

  void string(char quote) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) error("a string is never closed");
    push(TokenType::kString, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    advance(end + 1 - at_);
  }

  void operation(std::string& brackets) {
    constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "*",
                                               "/",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                               ">",  "<",  "=",  ".",  ":",  "|",  ","};
    for (const std::string_view op : kOperators) {
      if (!follows(op)) continue;
      if (op == "(" || op == "[" || op == "{") brackets += op == "(" ? ')' : (op == "[" ? ']' : '}');
      if (op == ")" || op == "]" || op == "}") {
        if (brackets.empty() || brackets.back() != op[0]) error("unexpected '{}'", op);
        brackets.pop_back();
      }
      push(TokenType::kOperator, std::string(op));
      return advance(op.size());
    }
    error("unexpected character '{}'", printable(std::string_view(source_).substr(at_, 1)));
  }

  std::string source_;
  std::string_view name_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the tag before ended with a newline
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, std::string_view name) {
  return Lexer(source, name).run();
}

}  // namespace latent8::jinja
