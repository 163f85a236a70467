#pragma once
// UTF-8: validation, decoding, and the replacement of what is not UTF-8.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace latent8 {

// What stands at the front of a byte string.
enum class Utf8Front {
  kCharacter,   // a whole character of `length` bytes
  kInvalid,     // `length` bytes that can never become a character (a maximal ill-formed subpart)
  kIncomplete,  // the string ends inside a character that is well-formed so far; `length` = bytes left
};

struct Utf8Step {
  Utf8Front kind;
  std::size_t length;   // bytes, >= 1
  char32_t code_point;  // valid for kCharacter only
};

// REQUIRES: bytes is not empty. Surrogates and code points above U+10FFFF are invalid.
// Source: The Unicode Standard, table 3-7 and section 3.9 (U+FFFD substitution of maximal subparts).
Utf8Step utf8_front(std::string_view bytes);

// Offset of the first byte that is not part of a well-formed character, nullopt if all is well-formed.
std::optional<std::size_t> first_invalid_utf8(std::string_view bytes);

void append_utf8(std::string& out, char32_t code_point);

// Appends bytes to out; each maximal ill-formed subpart, an incomplete end too, becomes one U+FFFD.
void append_lossy_utf8(std::string& out, std::string_view bytes);

// The code points of well-formed text.
// REQUIRES: text is UTF-8.
std::u32string to_code_points(std::string_view text);
std::string from_code_points(std::u32string_view code_points);

// Unicode White_Space plus U+001C to U+001F, which Python's str.isspace() counts too.
bool is_python_space(char32_t code_point);
// Unicode White_Space.
bool is_white_space(char32_t code_point);

}  // namespace latent8
