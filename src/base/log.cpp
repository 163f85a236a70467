#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "base/printable.h"

namespace latent8 {
namespace {

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = spdlog::stderr_color_mt("latent8");
    made->set_pattern("%^%l%$: %v");
    made->set_error_handler([](const std::string&) {});  // a full disk behind stderr is no reason to stop
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

// Messages carry names out of files that strangers made.
void show(spdlog::level::level_enum level, std::string_view message) {
  if (logger().should_log(level)) logger().log(level, "{}", shown_message(message));
}

}  // namespace

void set_log_level(LogLevel level) { logger().set_level(to_spdlog(level)); }
void log_debug(std::string_view message) { show(spdlog::level::debug, message); }
void log_info(std::string_view message) { show(spdlog::level::info, message); }
void log_warn(std::string_view message) { show(spdlog::level::warn, message); }
void log_error(std::string_view message) { show(spdlog::level::err, message); }

}  // namespace latent8
