#pragma once
// What the server counts, in Prometheus' text format.

#include <memory>
#include <string>

#include "frontend/text_stream.h"
#include "latent8/engine.h"

namespace latent8 {

// Thread-safety: all methods may be called from any thread.
class Metrics {
 public:
  Metrics(const std::string& model_name, const Engine& engine);
  ~Metrics();

  void count_request(const std::string& path, int status);
  void observe_answer(const TextFinish& finish);
  // The text of /metrics; gauges are read from the engine now.
  std::string text();

 private:
  struct Families;
  const Engine& engine_;
  std::unique_ptr<Families> families_;
};

}  // namespace latent8
