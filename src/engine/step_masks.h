#pragma once
// Masks of a step's tokens, computed while the model runs the step.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "latent8/request.h"

namespace latent8 {

// What may come next depends on tokens that came before the step alone. A thread of its own computes masks
// from begin() on, in their order; whoever needs one that is not begun yet computes it himself.
// Thread-safety: begin() and end() belong to one thread; take() may be called from many between the two.
class StepMasks {
 public:
  // words: of a mask.
  explicit StepMasks(std::size_t words) : words_(words) {}
  ~StepMasks();
  StepMasks(const StepMasks&) = delete;
  StepMasks& operator=(const StepMasks&) = delete;

  // Nobody else may call the providers before end(). REQUIRES: no begin() without end() before it.
  void begin(std::span<MaskProvider* const> providers);
  // The mask of the i-th provider, as MaskProvider::restrict leaves it; valid until end(). Waits where it is
  // being computed.
  std::span<const std::uint64_t> take(std::size_t i) noexcept;
  // Waits for the mask that is being computed and leaves out those that nobody took.
  void end() noexcept;

 private:
  enum class State : std::uint8_t { kWaiting, kRunning, kDone };
  struct Job {
    MaskProvider* provider = nullptr;
    std::vector<std::uint64_t> bits;
    std::atomic<State> state = State::kDone;
  };

  static bool compute(Job& job) noexcept;
  void start_thread();
  void work();

  std::size_t words_;
  std::vector<std::unique_ptr<Job>> jobs_;  // the first count_ are the step's
  std::mutex mutex_;
  std::condition_variable wake_;
  std::size_t next_ = 0, count_ = 0;  // guarded by mutex_: which job the thread takes next, of how many
  bool stop_ = false;                 // guarded by mutex_
  std::thread thread_;                // from the first mask on
};

}  // namespace latent8
