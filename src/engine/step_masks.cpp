#include "engine/step_masks.h"

#include <algorithm>
#include <system_error>

namespace latent8 {

StepMasks::~StepMasks() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void StepMasks::begin(std::span<MaskProvider* const> providers) {
  if (providers.empty()) return;
  start_thread();
  while (jobs_.size() < providers.size()) jobs_.push_back(std::make_unique<Job>());
  for (std::size_t i = 0; i < providers.size(); ++i) {
    Job& job = *jobs_[i];
    job.provider = providers[i];
    job.bits.assign(words_, ~std::uint64_t{0});
    job.state.store(State::kWaiting, std::memory_order_release);
  }
  {
    const std::lock_guard lock(mutex_);
    next_ = 0;
    count_ = providers.size();
  }
  wake_.notify_one();
}

std::span<const std::uint64_t> StepMasks::take(std::size_t i) noexcept {
  Job& job = *jobs_[i];
  if (!compute(job)) job.state.wait(State::kRunning, std::memory_order_acquire);
  return job.bits;
}

void StepMasks::end() noexcept {
  std::size_t count;
  {
    const std::lock_guard lock(mutex_);
    count = count_;
    next_ = count_ = 0;
  }
  for (std::size_t i = 0; i < count; ++i) {
    Job& job = *jobs_[i];
    State expected = State::kWaiting;
    if (!job.state.compare_exchange_strong(expected, State::kDone))
      job.state.wait(State::kRunning, std::memory_order_acquire);
  }
}

// false if somebody else has begun it.
bool StepMasks::compute(Job& job) noexcept {
  State expected = State::kWaiting;
  if (!job.state.compare_exchange_strong(expected, State::kRunning)) return false;
  job.provider->restrict(job.bits);
  job.state.store(State::kDone, std::memory_order_release);
  job.state.notify_all();
  return true;
}

// Where the system refuses a thread, masks are computed when they are taken.
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
    Job& job = *jobs_[next_++];
    lock.unlock();
    compute(job);
    lock.lock();
  }
}

}  // namespace latent8
