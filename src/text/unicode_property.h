#pragma once
// Character classes of Oniguruma, as members of a PCRE2 character class.

#include <optional>
#include <string>
#include <string_view>

namespace latent8 {

// [members] or, negated, [^members] in PCRE2's words, for UTF and UCP.
struct CharClass {
  std::string members;
  bool negated = false;
};

// The property that \p{name} means to Oniguruma in UTF-8: a general category, a script or one of the binary
// properties that it knows; case, spaces, '-' and '_' of the name do not matter. nullopt: not known here.
std::optional<CharClass> unicode_property(std::string_view name);

// The class of the POSIX bracket [:name:]; nullopt: there is none. It differs from the property of the same
// name in `punct` (symbols too).
std::optional<CharClass> posix_bracket(std::string_view name);

// \s, \w, \d and \h.
CharClass space_class();
CharClass word_class();
CharClass digit_class();
CharClass hex_digit_class();

}  // namespace latent8
