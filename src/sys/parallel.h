#pragma once
// Parallel loops whose body may throw.

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

#include "sys/thread_pool.h"

namespace latent8 {

// ThreadPool::parallel_for() with a body that may throw: no piece starts after one has thrown, and the error
// of the first of those pieces that threw reaches the caller.
template <class Body>
void parallel_for_or_throw(ThreadPool& pool, std::int64_t n, std::int64_t grain, const Body& body) {
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::int64_t failed_at = 0;
  std::exception_ptr error;
  pool.parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
    if (failed) return;
    try {
      body(begin, end, worker);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error || begin < failed_at) {
        error = std::current_exception();
        failed_at = begin;
      }
      failed = true;
    }
  });
  if (error) std::rethrow_exception(error);
}

}  // namespace latent8
