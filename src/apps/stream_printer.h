#pragma once
// An answer on stdout as it comes.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"
#include "frontend/text_stream.h"

namespace latent8 {

// Writes reasoning between <think> and </think>, as the model itself does, then the answer. It writes on the
// engine thread: one person reads one answer, and nobody else waits for the engine.
class StreamPrinter : public TextSink {
 public:
  void on_text(std::string_view delta, bool is_reasoning) noexcept override {
    if (is_reasoning && !reasoning_) write("<think>\n");
    if (!is_reasoning && reasoning_) write("</think>\n\n");
    reasoning_ = is_reasoning;
    write(delta);
    flush();
  }
  void on_finish(const TextFinish&) noexcept override {
    write(reasoning_ ? "</think>\n" : "\n");
    flush();
  }

  // Call when the answer is complete. Throws: Error{kIo} if stdout did not take all of it.
  void check() const {
    if (error_ != 0) throw_error(ErrorCode::kIo, "stdout: writing failed: {}", std::strerror(error_));
  }

 private:
  // A model repeats what it was trained on and what it was asked: a terminal gets no control characters of
  // it.
  void write(std::string_view text) {
    if (!terminal_) return write_bytes(text);
    write_bytes(terminal_text(text));
  }
  void write_bytes(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) error_ = errno;
  }
  void flush() {
    if (std::fflush(stdout) != 0) error_ = errno;
  }
  const bool terminal_ = isatty(STDOUT_FILENO) == 1;
  bool reasoning_ = false;
  int error_ = 0;  // errno of the latest failed write
};

}  // namespace latent8
