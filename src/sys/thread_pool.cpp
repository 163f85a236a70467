#include "sys/thread_pool.h"

#include <emmintrin.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "sys/topology.h"

namespace latent8 {

constexpr auto kSpin = std::chrono::microseconds(50);

struct ThreadPool::State {
  std::vector<std::thread> workers;

  // One loop at a time. `generation` rises once per loop; a worker that sees a rise takes pieces until none
  // is left.
  Call call = nullptr;
  const void* body = nullptr;
  std::int64_t n = 0, grain = 1;
  alignas(64) std::atomic<std::int64_t> next{0};
  alignas(64) std::atomic<std::uint64_t> generation{0};
  alignas(64) std::atomic<int> busy{0};
  std::atomic<bool> stop{false};

  std::mutex mutex;  // only for sleeping
  std::condition_variable wake;
  std::atomic<int> sleeping{0};

  void take_pieces(int worker) {
    for (;;) {
      const std::int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= n) return;
      call(body, begin, std::min(begin + grain, n), worker);
    }
  }

  // Returns when the generation differs from `seen`, spinning first.
  void await(std::uint64_t seen) {
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    for (int i = 0;; ++i) {
      if (generation.load(std::memory_order_acquire) != seen) return;
      _mm_pause();
      if (i % 64 == 63 && std::chrono::steady_clock::now() > deadline) break;
    }
    std::unique_lock lock(mutex);
    sleeping.fetch_add(1);
    wake.wait(lock, [&] { return generation.load() != seen; });
    sleeping.fetch_sub(1);
  }

  void work(int worker) {
    std::uint64_t seen = 0;
    for (;;) {
      await(seen);
      ++seen;
      if (stop.load()) return;
      take_pieces(worker);
      busy.fetch_sub(1, std::memory_order_release);
    }
  }

  void start(int count, const std::vector<int>& cores) {
    for (int worker = 1; worker < count; ++worker) {
      workers.emplace_back([this, worker] { work(worker); });
      if (count > static_cast<int>(cores.size())) continue;
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(cores[static_cast<std::size_t>(worker)], &set);
      pthread_setaffinity_np(workers.back().native_handle(), sizeof set, &set);  // advice only
    }
  }

  void end_workers() {
    stop = true;
    release_workers();
    for (std::thread& worker : workers) worker.join();
  }

  void release_workers() {
    generation.fetch_add(1);
    if (sleeping.load() > 0) {
      {
        const std::lock_guard lock(mutex);
      }
      wake.notify_all();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  LATENT8_CHECK(threads >= 0);
  const std::vector<int> cores = physical_cores();
  const int count = threads > 0 ? threads : static_cast<int>(cores.size());
  state_->workers.reserve(static_cast<std::size_t>(count));
  try {
    state_->start(count, cores);
  } catch (const std::system_error& error) {  // a joinable std::thread that is destroyed ends the process
    state_->end_workers();
    throw_error(
        ErrorCode::kUnavailable,
        "threads: {} expected, but only {} could be started: {}; ask for fewer with --threads, or raise "
        "the limit (ulimit -u, pids.max of the control group)",
        count, ThreadPool::threads(), error.code().message());
  } catch (...) {
    state_->end_workers();
    throw;
  }
}

ThreadPool::~ThreadPool() { state_->end_workers(); }

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(std::int64_t n, std::int64_t grain, Call call, const void* body) {
  LATENT8_DCHECK(grain >= 1);
  if (n <= 0) return;
  State& s = *state_;
  if (s.workers.empty() || n <= grain) {
    for (std::int64_t begin = 0; begin < n; begin += grain) call(body, begin, std::min(begin + grain, n), 0);
    return;
  }
  s.call = call;
  s.body = body;
  s.n = n;
  s.grain = grain;
  s.next.store(0, std::memory_order_relaxed);
  s.busy.store(static_cast<int>(s.workers.size()), std::memory_order_relaxed);
  s.release_workers();
  s.take_pieces(0);
  while (s.busy.load(std::memory_order_acquire) > 0) _mm_pause();
}

}  // namespace latent8
