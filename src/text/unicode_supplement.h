#pragma once
// Characters that Unicode 15 and 16 added and PCRE2 10.42, which knows Unicode 14, does not classify.

#include <string_view>

namespace latent8 {

// The members of a property assigned since Unicode 14, as members of a PCRE2 character class: a general
// category of two letters, Alphabetic, Lowercase, Emoji, Ideographic, or a script; empty for others. Found by
// comparing every code point with the `tokenizers` library 0.23 (Unicode 16). Only U+1171E also left a
// category (Mn, for Mc).
std::string_view unicode_supplement(std::string_view property);

}  // namespace latent8
