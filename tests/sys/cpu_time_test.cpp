#include "sys/cpu_time.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <iterator>
#include <thread>

namespace latent8 {
namespace {

TEST(CpuTime, CountsAThreadThatWorksAndNotOneThatSleeps) {
  using namespace std::chrono;
  const std::set<pid_t> before = thread_ids();
  std::promise<void> stop;
  const std::shared_future<void> stopped(stop.get_future());
  const auto added = [](const std::set<pid_t>& old) {
    std::set<pid_t> more;
    const std::set<pid_t> now = thread_ids();
    std::set_difference(now.begin(), now.end(), old.begin(), old.end(), std::inserter(more, more.end()));
    return more;
  };
  std::thread sleeper([&] { stopped.wait(); });
  const std::set<pid_t> sleeping = added(before);
  const std::set<pid_t> with_sleeper = thread_ids();
  std::thread worker([&] {
    while (stopped.wait_for(seconds(0)) != std::future_status::ready) {
    }
  });
  const std::set<pid_t> working = added(with_sleeper);

  while (cpu_time_s(working) < 0.05) std::this_thread::sleep_for(milliseconds(5));

  EXPECT_EQ(sleeping.size(), 1U);
  EXPECT_EQ(working.size(), 1U);
  EXPECT_LT(cpu_time_s(sleeping), 0.04);
  stop.set_value();
  sleeper.join();
  worker.join();
  EXPECT_EQ(cpu_time_s({}), 0.0);
}

}  // namespace
}  // namespace latent8
