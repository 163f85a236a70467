#pragma once
// Masks of a step's tokens, computed while the model runs the step.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace latent8 {

// What may come next depends on tokens that are known before the step alone. A thread of its own computes
// masks from begin() on, in their order; whoever needs one that is not begun yet computes it himself.
// Thread-safety: begin() and end() belong to one thread; need() may be called from many between the two.
class StepMasks {
 public:
  // Computes masks of the i-th sequence that has any. Must not throw.
  using Compute = std::function<void(std::size_t i)>;

  StepMasks() = default;
  ~StepMasks();
  StepMasks(const StepMasks&) = delete;
  StepMasks& operator=(const StepMasks&) = delete;

  // Calls compute for 0 to count - 1, once each, until end(). REQUIRES: no begin() without end() before it.
  void begin(std::size_t count, Compute compute);
  // Returns when compute(i) has returned.
  void need(std::size_t i) noexcept;
  // Waits for the masks that are being computed and leaves out those that nobody needed.
  void end() noexcept;

 private:
  enum class State : std::uint8_t { kWaiting, kRunning, kDone };
  using Job = std::atomic<State>;

  bool run(Job& job, std::size_t i) noexcept;
  void start_thread();
  void work();

  Compute compute_;
  std::vector<std::unique_ptr<Job>> jobs_;  // the first count_ are the step's
  std::mutex mutex_;
  std::condition_variable wake_;
  std::size_t next_ = 0, count_ = 0;  // guarded by mutex_: which job the thread takes next, of how many
  bool stop_ = false;                 // guarded by mutex_
  std::thread thread_;                // from the first mask on
};

}  // namespace latent8
