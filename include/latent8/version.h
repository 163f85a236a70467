#pragma once
// The version of latent8, as CMakeLists.txt states it.

#include <string_view>

namespace latent8 {

std::string_view version();  // "0.1.0"

}  // namespace latent8
