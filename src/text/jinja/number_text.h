#pragma once
// Numbers as text, for % and str.format.

#include <string>

#include "text/jinja/value.h"

namespace latent8::jinja {

struct NumberStyle {
  char type = 'd';     // d i u f F e E g G x X o b c % n
  int precision = -1;  // -1: the type's own
  bool alternate = false;
  std::string sign = "-";  // "-", "+" or " "
  char group = 0;          // ',' or '_' between thousands
};

// Sign and digits, without a width. Throws: Error{kInvalidArgument} if the type does not suit the value or
// the precision is beyond 1,000 digits.
std::string number_text(const Value& value, const NumberStyle& style);

// Puts zeros between the sign (and 0x) and the digits, up to `width` characters.
String zero_padded(std::string_view number, std::int64_t width);

}  // namespace latent8::jinja
