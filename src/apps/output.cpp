#include "apps/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/printable.h"

namespace latent8 {
namespace {

constexpr std::array kEndingSignals = {SIGINT, SIGTERM, SIGHUP};
std::atomic<int> ended_by{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler writes it");

}  // namespace

void open_standard_streams() {
  constexpr std::array kModes = {O_RDONLY, O_RDONLY,
                                 O_WRONLY};  // reading: writes to stdout fail, as they should
  for (int fd = 0; fd < static_cast<int>(kModes.size()); ++fd)
    if (fcntl(fd, F_GETFD) < 0) static_cast<void>(open("/dev/null", kModes[static_cast<std::size_t>(fd)]));
}

void print_result(std::string_view text) {
  const std::string shown = terminal_text(text);
  if (std::fwrite(shown.data(), 1, shown.size(), stdout) != shown.size())
    throw_error(ErrorCode::kIo, "stdout: writing failed: {}", std::strerror(errno));
}

void print_remark(std::string_view text) noexcept {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr));
}

void flush_results() {
  if (std::fflush(stdout) != 0)
    throw_error(ErrorCode::kIo, "stdout: writing failed: {}", std::strerror(errno));
}

bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

std::string format_bytes(std::int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(kUnits)) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

Progress::Progress(std::string task, Lines lines) : task_(std::move(task)), lines_(lines) {
  ended_by = 0;
  struct sigaction action = {};
  action.sa_handler = [](int signal) { ended_by = signal; };
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  for (std::size_t i = 0; i < kEndingSignals.size(); ++i) {
    sigaction(kEndingSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) sigaction(kEndingSignals[i], &action, nullptr);
  }
}

Progress::~Progress() {
  for (std::size_t i = 0; i < kEndingSignals.size(); ++i) sigaction(kEndingSignals[i], &before_[i], nullptr);
  if (open_line_) print_remark("\n");
}

void Progress::update(std::int64_t done, std::int64_t total, std::string_view note) {
  if (const int signal = ended_by; signal != 0) throw Interrupted{signal};
  const std::int64_t permille = total > 0 ? done * 1000 / total : 1000;
  if (stderr_is_terminal()) {
    if (permille != shown_) draw_bar(permille, note);
    shown_ = permille;
  } else if (lines_ == Lines::kTenths && permille / 100 != shown_) {
    shown_ = permille / 100;
    print_remark("{}: {} %{}{}\n", task_, permille / 10, note.empty() ? "" : "  ", note);
  }
}

void Progress::draw_bar(std::int64_t permille, std::string_view note) {
  constexpr std::int64_t kWidth = 30;
  const auto filled = static_cast<std::size_t>(permille * kWidth / 1000);
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  print_remark("\r{} [{}] {:3} %  {}\033[K", task_, bar, permille / 10, note);
  std::fflush(stderr);
  open_line_ = true;
}

}  // namespace latent8
