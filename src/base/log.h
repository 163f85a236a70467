#pragma once
// Log lines to stderr. Results go to stdout and never through here. Nothing is logged in the step path.
// Thread-safety: all functions may be called from any thread.

#include <string_view>

namespace latent8 {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

void set_log_level(LogLevel level);
void log_debug(std::string_view message);
void log_info(std::string_view message);
void log_warn(std::string_view message);
void log_error(std::string_view message);

}  // namespace latent8
