#pragma once
// A TokenSink that keeps what it is told and lets a test wait for the end.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "latent8/request.h"

namespace latent8 {

class CollectingSink : public TokenSink {
 public:
  bool on_token(const SampledToken& token) noexcept override {
    ids.push_back(token.id);
    logprobs.push_back(token.logprob);
    tops.emplace_back(token.top.begin(), token.top.end());
    return !each_token || each_token(*this);
  }
  void on_prompt_token(const SampledToken& token) noexcept override {
    prompt_ids.push_back(token.id);
    prompt_logprobs.push_back(token.logprob);
    prompt_tops.emplace_back(token.top.begin(), token.top.end());
  }
  void on_finish(const Finish& f) noexcept override {
    const std::lock_guard lock(mutex_);
    finish = f;
    ++finishes;
    done_.notify_all();
  }
  // Waits for on_finish; a minute without it is a failure.
  CollectingSink& wait() {
    std::unique_lock lock(mutex_);
    if (!done_.wait_for(lock, std::chrono::minutes(1), [this] { return finishes > 0; }))
      throw std::runtime_error("no on_finish within a minute");
    return *this;
  }

  std::function<bool(CollectingSink&)> each_token;  // its answer is on_token's; empty: true
  std::vector<std::int32_t> ids, prompt_ids;
  std::vector<float> logprobs, prompt_logprobs;
  std::vector<std::vector<TokenLogprob>> tops, prompt_tops;
  Finish finish;
  int finishes = 0;

 private:
  std::mutex mutex_;
  std::condition_variable done_;
};

}  // namespace latent8
