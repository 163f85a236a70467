#pragma once
// Short ways to throw an Error with a formatted message.

#include <fmt/format.h>

#include <string_view>

#include "latent8/error.h"

namespace latent8 {

// throw_error(ErrorCode::kCorrupt, "{}: header of {} bytes expected, got {}", path, want, got);
template <class... Args>
[[noreturn]] void throw_error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

std::string_view to_string(ErrorCode code);

}  // namespace latent8
