#pragma once
// Characters that Unicode 15 and 16 added and PCRE2 10.42, which knows Unicode 14, does not classify.

#include <string_view>

namespace latent8 {

// The members of a general category (L, M, N, P or S) assigned since Unicode 14, as members of a PCRE2
// character class; empty for other categories. Found by comparing the category of every code point with that
// of the `tokenizers` library 0.23 (Unicode 16).
std::string_view unicode_supplement(std::string_view category);

}  // namespace latent8
