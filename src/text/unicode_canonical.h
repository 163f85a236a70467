#pragma once
// Canonical equivalence of Unicode: composed and decomposed forms of one text.

#include <string>
#include <string_view>

namespace latent8 {

// Normalisation forms C and D. REQUIRES: text is UTF-8.
// Source: Unicode Standard Annex 15; Hangul by the algorithm of section 3.12 of the Standard.
std::string to_nfc(std::string_view text);
std::string to_nfd(std::string_view text);

// The data, as "code point, decomposition;" of those that are composed again and of those that are not, and
// "first, last, class;" of combining marks.
std::string_view canonical_composites();
std::string_view canonical_singletons();
std::string_view combining_classes();

}  // namespace latent8
