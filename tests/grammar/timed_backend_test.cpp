#include "grammar/timed_backend.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/errors.h"

namespace latent8 {
namespace {

class Empty final : public Grammar {
 public:
  std::unique_ptr<MaskProvider> make_mask(bool) const override { return nullptr; }
  std::size_t bytes() const override { return 0; }
};

// Compiles "slow..." when it is told to, "bad" never, others at once.
class Fake final : public GrammarBackend {
 public:
  Fake(std::shared_future<void> signal, std::atomic<int>& compiled)
      : signal_(std::move(signal)), compiled_(compiled) {}
  std::shared_ptr<const Grammar> compile(const GrammarSpec& spec) const override {
    if (spec.text.starts_with("slow")) signal_.wait();
    if (spec.text == "bad") throw Error(ErrorCode::kInvalidArgument, "bad");
    ++compiled_;
    return std::make_shared<Empty>();
  }
  bool keeps_json(const std::string&) const override { return true; }

 private:
  std::shared_future<void> signal_;
  std::atomic<int>& compiled_;
};

class TimedBackendTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Grammar> compile(const std::string& text) { return timed_.compile({.text = text}); }
  std::string refusal(ErrorCode code, const std::string& text) {
    return error_of(code, [&] { compile(text); });
  }

  std::promise<void> signal_;
  std::atomic<int> compiled_ = 0;
  TimedBackend timed_{std::make_unique<Fake>(signal_.get_future().share(), compiled_), 0.2};
};

TEST_F(TimedBackendTest, ReturnsWhatTheBackendCompiles) {
  EXPECT_NE(compile("a"), nullptr);
  EXPECT_NE(compile("a"), nullptr);
  EXPECT_EQ(compiled_, 2);  // it keeps nothing that somebody got
  EXPECT_EQ(refusal(ErrorCode::kInvalidArgument, "bad"), "bad");
  EXPECT_EQ(refusal(ErrorCode::kInvalidArgument, "bad"), "bad");
  signal_.set_value();
}

TEST_F(TimedBackendTest, RefusesWhatTakesTooLongAndHasItLater) {
  EXPECT_NE(refusal(ErrorCode::kUnsupported, "slow").find("longer than 0.2 s"), std::string::npos);
  EXPECT_NE(refusal(ErrorCode::kUnsupported, "slow").find("longer than"), std::string::npos);
  signal_.set_value();
  while (compiled_ == 0) std::this_thread::yield();
  EXPECT_NE(compile("slow"), nullptr);
  EXPECT_EQ(compiled_, 1);
}

TEST_F(TimedBackendTest, BoundsWhatGoesOnAtOneTime) {
  for (std::size_t i = 0; i < TimedBackend::kMostAtOnce; ++i)
    refusal(ErrorCode::kUnsupported, "slow" + std::to_string(i));
  EXPECT_NE(refusal(ErrorCode::kUnavailable, "a").find("being compiled"), std::string::npos);
  signal_.set_value();
  while (compiled_ < static_cast<int>(TimedBackend::kMostAtOnce)) std::this_thread::yield();
  EXPECT_NE(compile("slow0"), nullptr);
  EXPECT_NE(compile("a"), nullptr);
}

}  // namespace
}  // namespace latent8
