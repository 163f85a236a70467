#pragma once
// The version of latent8: the one of project() in CMakeLists.txt.

#include <string_view>

namespace latent8 {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace latent8
