#pragma once
// White space around words of a format.

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace latent8 {

inline constexpr std::string_view kSpace = " \t\r\n";

// The first place from `at` on that is no white space; text.size() if there is none.
inline std::size_t skip_space(std::string_view text, std::size_t at = 0) {
  return std::min(text.find_first_not_of(kSpace, at), text.size());
}

inline std::string_view without_space_behind(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

inline std::string_view trimmed(std::string_view text) {
  return without_space_behind(text.substr(skip_space(text)));
}

}  // namespace latent8
