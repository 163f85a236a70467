#pragma once
// The end of one text as the beginning of another.

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace latent8 {

// Bytes of the longest end of text, shorter than all of word, that word begins with.
inline std::size_t longest_suffix_prefix(std::string_view text, std::string_view word) {
  if (word.empty()) return 0;
  for (std::size_t length = std::min(text.size(), word.size() - 1); length > 0; --length) {
    if (word.starts_with(text.substr(text.size() - length))) return length;
  }
  return 0;
}

}  // namespace latent8
