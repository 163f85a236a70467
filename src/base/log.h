#pragma once
// Log lines to stderr. Results go to stdout and never through here. Nothing is logged in the step path.
// Thread-safety: all functions may be called from any thread.

#include <string>
#include <string_view>

namespace latent8 {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

// kJson: a JSON object per line, {"time", "level", "message", ...}.
enum class LogFormat { kText, kJson };

void set_log_level(LogLevel level);
void set_log_format(LogFormat format);  // before other threads log
void log_debug(std::string_view message);
void log_info(std::string_view message);
// members: of the JSON object, beside those that all lines have: "\"status\":200,\"path\":\"/\"".
void log_info(std::string_view message, std::string_view members);
void log_warn(std::string_view message);
void log_error(std::string_view message);

}  // namespace latent8
