#include "base/log.h"

#include <fmt/chrono.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <ctime>

#include "base/printable.h"

namespace latent8 {
namespace {

constexpr const char* kTextPattern = "%^%l%$: %v";

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = spdlog::stderr_color_mt("latent8");
    made->set_pattern(kTextPattern);
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

LogFormat& format() {
  static LogFormat chosen = LogFormat::kText;
  return chosen;
}

// As a JSON string. REQUIRES: UTF-8 without control characters but newlines and tabs.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : std::string(1, c);
  }
  return out + '"';
}

// Messages carry names out of files that strangers made.
void show(spdlog::level::level_enum level, std::string_view message, std::string_view members = "") {
  if (!logger().should_log(level)) return;
  const std::string text = shown_message(message);
  if (format() == LogFormat::kText) return logger().log(level, "{}", text);
  const auto name = spdlog::level::to_string_view(level);
  const std::time_t now = std::time(nullptr);
  logger().log(level, "{{\"time\":\"{:%Y-%m-%dT%H:%M:%SZ}\",\"level\":\"{}\",\"message\":{}{}{}}}",
               fmt::gmtime(now), std::string_view(name.data(), name.size()), quoted(text),
               members.empty() ? "" : ",", members);
}

}  // namespace

void set_log_level(LogLevel level) { logger().set_level(to_spdlog(level)); }
void set_log_format(LogFormat chosen) {
  format() = chosen;
  logger().set_pattern(chosen == LogFormat::kJson ? "%v" : kTextPattern);
}
void log_debug(std::string_view message) { show(spdlog::level::debug, message); }
void log_info(std::string_view message) { show(spdlog::level::info, message); }
void log_info(std::string_view message, std::string_view members) {
  show(spdlog::level::info, message, members);
}
void log_warn(std::string_view message) { show(spdlog::level::warn, message); }
void log_error(std::string_view message) { show(spdlog::level::err, message); }

}  // namespace latent8
