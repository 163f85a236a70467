#include "sys/cpu_time.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>

namespace latent8 {
namespace {

using namespace std::chrono_literals;

TEST(CpuTime, CountsAThreadThatWorksAndNotOneThatSleeps) {
  std::promise<void> stop;
  const std::shared_future<void> stopped(stop.get_future());
  std::promise<pid_t> sleeper_id;
  std::promise<pid_t> worker_id;
  std::thread sleeper([&] {
    sleeper_id.set_value(gettid());
    stopped.wait();
  });
  std::thread worker([&] {
    worker_id.set_value(gettid());
    while (stopped.wait_for(0s) != std::future_status::ready) {
    }
  });
  const std::set<pid_t> sleeping{sleeper_id.get_future().get()};
  const std::set<pid_t> working{worker_id.get_future().get()};

  while (cpu_time_s(working) < 0.05) std::this_thread::sleep_for(5ms);

  EXPECT_LT(cpu_time_s(sleeping), 0.04);
  const std::set<pid_t> all = thread_ids();
  EXPECT_TRUE(all.contains(*sleeping.begin()));
  EXPECT_TRUE(all.contains(*working.begin()));
  stop.set_value();
  sleeper.join();
  worker.join();
  EXPECT_EQ(cpu_time_s({}), 0.0);
}

}  // namespace
}  // namespace latent8
