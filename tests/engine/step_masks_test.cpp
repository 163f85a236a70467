#include "engine/step_masks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <vector>

namespace latent8 {
namespace {

bool happens(const std::atomic<int>& counter) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (counter == 0 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  return counter > 0;
}

TEST(StepMasks, ComputesEachMaskOnceInEveryStep) {
  StepMasks masks;
  for (std::size_t step = 0; step < 200; ++step) {
    const std::size_t count = 1 + step % 7;
    std::vector<std::atomic<int>> computed(count);

    masks.begin(count, [&](std::size_t i) { ++computed[i]; });
    std::thread other([&] {
      for (std::size_t i = count; i-- > 0;) masks.need(i);
    });
    for (std::size_t i = 0; i < count; ++i) {
      masks.need(i);
      EXPECT_EQ(computed[i], 1);
    }
    other.join();
    masks.end();

    for (const std::atomic<int>& times : computed) EXPECT_EQ(times, 1);
  }
}

// The thread comes to a place that it took when the step is over, and another has begun.
TEST(StepMasks, ComputesMasksOfTheStepThatIsUnderWay) {
  StepMasks masks;
  std::atomic<int> now = 0, wrong = 0;
  for (int step = 1; step <= 5000; ++step) {
    now = step;
    masks.begin(1 + static_cast<std::size_t>(step % 97), [&, step](std::size_t) { wrong += now != step; });
    masks.end();
  }
  EXPECT_EQ(wrong, 0);
}

TEST(StepMasks, ComputesMasksWhileNobodyAsks) {
  std::vector<std::atomic<int>> done(2);
  StepMasks masks;

  masks.begin(2, [&](std::size_t i) { ++done[i]; });

  EXPECT_TRUE(happens(done[0]));
  EXPECT_TRUE(happens(done[1]));
  masks.end();
}

// A first mask that takes until the signal, and others that take no time.
struct SlowFirst {
  std::promise<void> signal;
  std::shared_future<void> signalled = signal.get_future().share();
  std::vector<std::atomic<int>> begun = std::vector<std::atomic<int>>(2),
                                done = std::vector<std::atomic<int>>(2);

  void compute(std::size_t i) {
    ++begun[i];
    if (i == 0) signalled.wait();
    ++done[i];
  }
};

TEST(StepMasks, WhoeverNeedsAMaskNextDoesNotWaitForTheOneBefore) {
  SlowFirst slow;
  StepMasks masks;

  masks.begin(2, [&](std::size_t i) { slow.compute(i); });
  EXPECT_TRUE(happens(slow.begun[0]));
  masks.need(1);
  EXPECT_EQ(slow.done[1], 1);
  EXPECT_EQ(slow.done[0], 0);
  slow.signal.set_value();
  masks.need(0);
  EXPECT_EQ(slow.done[0], 1);
  masks.end();
}

TEST(StepMasks, ComputesNothingAfterTheEnd) {
  SlowFirst slow;
  StepMasks masks;

  masks.begin(2, [&](std::size_t i) { slow.compute(i); });
  EXPECT_TRUE(happens(slow.begun[0]));
  std::thread later([&] { slow.signal.set_value(); });
  masks.end();

  EXPECT_EQ(slow.done[0], 1);
  later.join();
  const int begun = slow.begun[1];  // the thread may have come to it before the end
  EXPECT_EQ(slow.done[1], begun);
}

}  // namespace
}  // namespace latent8
