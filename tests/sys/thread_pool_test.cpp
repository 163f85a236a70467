#include "sys/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "support/errors.h"

namespace latent8 {
namespace {

TEST(ThreadPool, RunsEveryItemOnceForAnyThreadCountAndGrain) {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    for (const std::int64_t grain : {1, 3, 64}) {
      std::vector<std::atomic<int>> hits(257);

      pool.parallel_for(257, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
        EXPECT_LT(worker, threads);
        for (std::int64_t i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
      });

      for (const auto& hit : hits) EXPECT_EQ(hit.load(), 1);
    }
  }
}

TEST(ThreadPool, WakesWorkersThatWentToSleep) {
  ThreadPool pool(3);
  std::int64_t total = 0;
  for (int round = 0; round < 20; ++round) {
    std::atomic<std::int64_t> sum{0};

    pool.parallel_for(100, 1, [&](std::int64_t begin, std::int64_t, int) { sum += begin; });

    total += sum.load();
    std::this_thread::sleep_for(std::chrono::microseconds(round % 2 == 0 ? 200 : 0));
  }
  EXPECT_EQ(total, 20 * 4950);
}

TEST(ThreadPool, AnEmptyLoopDoesNothing) {
  ThreadPool pool(2);
  bool called = false;

  pool.parallel_for(0, 1, [&](std::int64_t, std::int64_t, int) { called = true; });

  EXPECT_FALSE(called);
}

// New threads get a stack that no machine has, for as long as this lives.
class NoThreadCanStart {
 public:
  NoThreadCanStart() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, std::size_t{1} << 46);
    EXPECT_EQ(pthread_setattr_default_np(&attributes), 0);
    pthread_attr_destroy(&attributes);
  }
  ~NoThreadCanStart() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }
  NoThreadCanStart(const NoThreadCanStart&) = delete;
  NoThreadCanStart& operator=(const NoThreadCanStart&) = delete;

 private:
  pthread_attr_t before_;
};

TEST(ThreadPool, SaysHowManyThreadsCouldBeStarted) {
  const NoThreadCanStart limit;

  const std::string error = error_of(ErrorCode::kUnavailable, [] { const ThreadPool pool(3); });

  EXPECT_THAT(error, testing::HasSubstr("3 expected, but only 1 could be started"));
}

}  // namespace
}  // namespace latent8
