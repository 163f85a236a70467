#include "engine/step_masks.h"

#include <system_error>
#include <utility>

namespace latent8 {

StepMasks::~StepMasks() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void StepMasks::begin(std::size_t count, Compute compute) {
  if (count == 0) return;
  start_thread();
  while (jobs_.size() < count) jobs_.push_back(std::make_unique<Job>());
  compute_ = std::move(compute);  // first: the thread may still hold a place of the step before
  for (std::size_t i = 0; i < count; ++i) jobs_[i]->store(State::kWaiting, std::memory_order_release);
  {
    const std::lock_guard lock(mutex_);
    next_ = 0;
    count_ = count;
  }
  wake_.notify_one();
}

void StepMasks::need(std::size_t i) noexcept {
  if (!run(*jobs_[i], i)) jobs_[i]->wait(State::kRunning, std::memory_order_acquire);
}

void StepMasks::end() noexcept {
  std::size_t count;
  {
    const std::lock_guard lock(mutex_);
    count = count_;
    next_ = count_ = 0;
  }
  for (std::size_t i = 0; i < count; ++i) {
    State expected = State::kWaiting;
    if (!jobs_[i]->compare_exchange_strong(expected, State::kDone))
      jobs_[i]->wait(State::kRunning, std::memory_order_acquire);
  }
}

// false if somebody else has begun it.
bool StepMasks::run(Job& job, std::size_t i) noexcept {
  State expected = State::kWaiting;
  if (!job.compare_exchange_strong(expected, State::kRunning)) return false;
  compute_(i);
  job.store(State::kDone, std::memory_order_release);
  job.notify_all();
  return true;
}

// Where the system refuses a thread, masks are computed when they are needed.
void StepMasks::start_thread() {
  if (thread_.joinable()) return;
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error&) {
  }
}

void StepMasks::work() {
  for (std::unique_lock lock(mutex_);;) {
    wake_.wait(lock, [this] { return stop_ || next_ < count_; });
    if (stop_) return;
    const std::size_t i = next_++;
    Job& job = *jobs_[i];
    lock.unlock();
    run(job, i);
    lock.lock();
  }
}

}  // namespace latent8
