#pragma once
// A backend whose callers wait for a limited time.

#include <future>
#include <list>
#include <memory>
#include <mutex>

#include "grammar/grammar.h"

namespace latent8 {

// XGrammar cannot be stopped: what takes too long goes on, on a thread of its own, and is there for whoever
// asks for it again. So many do so at one time at most. Two that ask for the same grammar wait for the same
// thread. Thread-safety: as GrammarBackend. The destructor waits for what goes on.
class TimedBackend final : public GrammarBackend {
 public:
  static constexpr std::size_t kMostAtOnce = 4;

  TimedBackend(std::unique_ptr<const GrammarBackend> backend, double limit_s)
      : backend_(std::move(backend)), limit_s_(limit_s) {}

  // Throws: as the backend; Error{kUnsupported} where it takes longer than the limit; {kUnavailable} if too
  // many are being compiled.
  std::shared_ptr<const Grammar> compile(const GrammarSpec& spec) const override;
  bool keeps_json(const std::string& pattern) const override { return backend_->keeps_json(pattern); }

 private:
  using Result = std::shared_future<std::shared_ptr<const Grammar>>;
  struct Job {
    GrammarSpec spec;
    Result result;
  };
  Result begin(const GrammarSpec& spec) const;
  void forget(const GrammarSpec& spec) const;

  std::unique_ptr<const GrammarBackend> backend_;
  double limit_s_;
  mutable std::mutex mutex_;
  mutable std::list<Job> jobs_;  // guarded by mutex_; those that have ended are of callers who did not wait
};

}  // namespace latent8
