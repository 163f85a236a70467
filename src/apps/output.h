#pragma once
// What a subcommand prints: results on stdout, progress and remarks on stderr.

#include <fmt/format.h>
#include <signal.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace latent8 {

// Gives the standard streams that are closed something to be: without, the next file of the run would get
// their numbers, and results or remarks would be written into it. What is written to a closed stdout is an
// error then.
void open_standard_streams();

// Writes text to stdout, without what a terminal would act on. Throws: Error{kIo} if stdout cannot take it (a
// full disk).
void print_result(std::string_view text);
// Throws: as print_result.
void flush_results();

// Writes to stderr. A stderr that cannot take it (closed, on a full disk) is no reason to stop.
void print_remark(std::string_view text) noexcept;
template <class... Args>
void print_remark(fmt::format_string<Args...> format, Args&&... args) {
  print_remark(std::string_view(fmt::format(format, std::forward<Args>(args)...)));
}

bool stderr_is_terminal();

std::string format_bytes(std::int64_t bytes);  // "1.50 GiB", "640 B"

// Thrown by Progress::update() after SIGINT, SIGTERM or SIGHUP. No std::exception, so that nothing between
// there and main() takes it for a failure of its own.
struct Interrupted {
  int signal;
};

// Progress of one long task on stderr: a bar that redraws itself on a terminal, elsewhere a line at every
// tenth. As long as it lives, the first SIGINT, SIGTERM or SIGHUP ends the task at its next update(), which
// removes what was half written; the second ends the program at once. Thread-safety: none; one at a time.
class Progress {
 public:
  // Lines are for where stderr is no terminal.
  enum class Lines : std::uint8_t { kTenths, kNone };
  explicit Progress(std::string task, Lines lines = Lines::kTenths);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `note` follows the figures. REQUIRES: 0 <= done <= total. Throws: Interrupted.
  void update(std::int64_t done, std::int64_t total, std::string_view note = "");

 private:
  void draw_bar(std::int64_t permille, std::string_view note);
  std::string task_;
  Lines lines_;
  std::array<struct sigaction, 3> before_ = {};
  std::int64_t shown_ = -1;  // per mille on a terminal, tenths elsewhere
  bool open_line_ = false;
};

}  // namespace latent8
