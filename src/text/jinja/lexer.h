#pragma once
// Templates cut into tokens; white space control is settled here.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace latent8::jinja {

enum class TokenType {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenType type;
  std::string text;  // data, name, operator, decoded string
  int line;          // from 1
  std::int64_t integer = 0;
  double real = 0;

  bool is(TokenType wanted, std::string_view word) const { return type == wanted && text == word; }
  bool is_name(std::string_view word) const { return is(TokenType::kName, word); }
  bool is_op(std::string_view word) const { return is(TokenType::kOperator, word); }
};

// With trim_blocks, lstrip_blocks and no trailing newline kept, as transformers sets Jinja2 up. The last
// token is kEnd. Throws: Error{kInvalidArgument} naming `name` and the line.
std::vector<Token> tokenize(std::string_view source, std::string_view name);

}  // namespace latent8::jinja
