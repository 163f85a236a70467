#pragma once
// A bound on what a tokenizer's rules make of a text.

#include <cstddef>
#include <string_view>

namespace latent8 {

// Rules that put a longer text in place of a shorter one can double it again and again, with as many as a
// file likes. Throws: Error{kCorrupt} beginning with `rules` if `bytes` made of a text of `from` bytes are
// more than any tokenizer's rules make.
void check_growth(std::string_view rules, std::size_t from, std::size_t bytes);

}  // namespace latent8
