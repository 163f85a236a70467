#pragma once
// An answer on stdout as it comes.

#include <cstdio>
#include <string_view>

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
    std::fflush(stdout);
  }
  void on_finish(const TextFinish&) noexcept override {
    write(reasoning_ ? "</think>\n" : "\n");
    std::fflush(stdout);
  }

 private:
  static void write(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }
  bool reasoning_ = false;
};

}  // namespace latent8
