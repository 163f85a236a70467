#include "engine/step_masks.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

namespace latent8 {
namespace {

constexpr std::size_t kWords = 3;

// Leaves one bit; waits for a signal before that, if there is one.
class OneBit final : public MaskProvider {
 public:
  explicit OneBit(int bit, std::shared_future<void> signal = {}) : bit_(bit), signal_(std::move(signal)) {}
  void restrict(std::span<std::uint64_t> bits) noexcept override {
    ++begun;
    if (signal_.valid()) signal_.wait();
    for (std::size_t i = 0; i < bits.size(); ++i)
      bits[i] &= i == static_cast<std::size_t>(bit_) / 64 ? std::uint64_t{1} << (bit_ % 64) : 0;
    ++done;
  }
  void accept(std::int32_t) noexcept override {}
  void rollback(std::int64_t) noexcept override {}

  std::atomic<int> begun = 0, done = 0;

 private:
  int bit_;
  std::shared_future<void> signal_;
};

bool happens(const std::atomic<int>& counter) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (counter == 0 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  return counter > 0;
}

std::vector<std::uint64_t> bits_of(std::span<const std::uint64_t> mask) { return {mask.begin(), mask.end()}; }

std::vector<std::uint64_t> only(int bit) {
  std::vector<std::uint64_t> bits(kWords);
  bits[static_cast<std::size_t>(bit) / 64] = std::uint64_t{1} << (bit % 64);
  return bits;
}

TEST(StepMasks, GivesEachProvidersMaskInEveryStepAndAsksItOnce) {
  StepMasks masks(kWords);
  for (int step = 0; step < 200; ++step) {
    const int count = 1 + step % 7;
    std::vector<std::unique_ptr<OneBit>> providers;
    std::vector<MaskProvider*> asked;
    for (int i = 0; i < count; ++i)
      asked.push_back(providers.emplace_back(std::make_unique<OneBit>((step + 25 * i) % 192)).get());

    masks.begin(asked);
    std::thread other([&] {
      for (int i = count - 1; i >= 0; --i) masks.take(static_cast<std::size_t>(i));
    });
    for (int i = 0; i < count; ++i)
      EXPECT_EQ(bits_of(masks.take(static_cast<std::size_t>(i))), only((step + 25 * i) % 192));
    other.join();
    masks.end();

    for (const auto& provider : providers) EXPECT_EQ(provider->done, 1);
  }
}

TEST(StepMasks, ComputesMasksWhileNobodyAsks) {
  OneBit first(1), second(2);
  StepMasks masks(kWords);

  masks.begin(std::vector<MaskProvider*>{&first, &second});

  EXPECT_TRUE(happens(first.done));
  EXPECT_TRUE(happens(second.done));
  masks.end();
}

TEST(StepMasks, WhoeverNeedsAMaskNextDoesNotWaitForTheOneBefore) {
  std::promise<void> signal;
  OneBit slow(1, signal.get_future().share()), quick(2);
  StepMasks masks(kWords);

  masks.begin(std::vector<MaskProvider*>{&slow, &quick});
  EXPECT_TRUE(happens(slow.begun));
  EXPECT_EQ(bits_of(masks.take(1)), only(2));
  EXPECT_EQ(slow.done, 0);
  signal.set_value();
  EXPECT_EQ(bits_of(masks.take(0)), only(1));
  masks.end();
}

TEST(StepMasks, TouchesNoProviderAfterTheEnd) {
  std::promise<void> signal;
  OneBit slow(1, signal.get_future().share()), left(2);
  StepMasks masks(kWords);

  masks.begin(std::vector<MaskProvider*>{&slow, &left});
  EXPECT_TRUE(happens(slow.begun));
  std::thread later([&] { signal.set_value(); });
  masks.end();

  EXPECT_EQ(slow.done, 1);
  later.join();
  const int begun = left.begun;  // the thread may have come to it before the end
  EXPECT_EQ(left.done, begun);
}

}  // namespace
}  // namespace latent8
