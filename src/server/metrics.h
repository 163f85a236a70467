#pragma once
// What the server counts, in Prometheus' text format.

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "frontend/text_stream.h"
#include "latent8/engine.h"

namespace latent8 {

// The mean of the last thousand values. Thread-safety: all methods may be called from any thread.
class RecentMean {
 public:
  void add(double value);
  double value() const;  // 0 without any

 private:
  mutable std::mutex mutex_;
  std::deque<double> values_;
  double sum_ = 0.0;
};

// Thread-safety: all methods may be called from any thread.
class Metrics {
 public:
  Metrics(const std::string& model_name, const Engine& engine);
  ~Metrics();

  void count_request(const std::string& path, int status);
  void count_received(std::int64_t answers);  // that are submitted
  void observe_answer(const TextFinish& finish);
  // The text of /metrics; gauges are read from the engine now.
  std::string text();
  // Of the last thousand answers, in seconds.
  double recent_first_token_s() const { return recent_first_token_.value(); }
  double recent_per_token_s() const { return recent_per_token_.value(); }

 private:
  void set_rates(const EngineStats& stats);

  struct Families;
  const Engine& engine_;
  std::unique_ptr<Families> families_;
  RecentMean recent_first_token_, recent_per_token_;
};

}  // namespace latent8
