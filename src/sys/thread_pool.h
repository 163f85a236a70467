#pragma once
// A fixed set of worker threads for the parallel loops of ops/.

#include <cstdint>
#include <memory>
#include <type_traits>

namespace latent8 {

// Runs loops on `threads` threads: the caller is worker 0, the pool owns the rest. Between loops a worker
// spins 50 us, then sleeps. A pool of one thread runs everything on the caller. Thread-safety: parallel_for
// may be called from one thread at a time, and not from inside a loop body. Loop bodies must not throw.
class ThreadPool {
 public:
  // threads >= 1; 0 means the number of physical cores of the process's affinity mask. Workers are not pinned
  // when there are more of them than cores.
  // Throws: Error{kUnavailable} saying how many could be started if the system refuses one (RLIMIT_NPROC,
  // pids.max, memory); those that were started have ended then.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls body(begin, end, worker) over [0, n) in pieces of `grain` items (the last one shorter). Which
  // worker runs a piece depends on timing; what a piece is depends on n and grain only. worker is in [0,
  // threads()).
  template <class Body>
  void parallel_for(std::int64_t n, std::int64_t grain, const Body& body) {
    run(n, grain, &call<Body>, &body);
  }

 private:
  using Call = void (*)(const void* body, std::int64_t begin, std::int64_t end, int worker);
  template <class Body>
  static void call(const void* body, std::int64_t begin, std::int64_t end, int worker) {
    (*static_cast<const Body*>(body))(begin, end, worker);
  }
  void run(std::int64_t n, std::int64_t grain, Call call, const void* body);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace latent8
