#pragma once
// The answers to one request on their way from the engine to a reply.

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/frontend.h"

namespace latent8 {

class Service;

// A sampled token with what a reply may show of it.
struct AnsweredToken {
  std::int32_t id = -1;
  float logprob = 0.0F;
  std::int32_t rank = 0;
  std::vector<TokenLogprob> top;

  AnsweredToken() = default;
  explicit AnsweredToken(const SampledToken& token)
      : id(token.id), logprob(token.logprob), rank(token.rank), top(token.top.begin(), token.top.end()) {}
};

// n answers as text. The engine's thread only hands tokens over: detokenising, stop strings and what the
// reply makes of them run on the text threads, one call at a time per request. Keeps itself alive until its
// last answer has ended.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  explicit Generation(Service& service);
  virtual ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // Submits n answers, which differ in their seeds alone: seed + i for the i-th. Call it once. Throws: Error
  // as Engine::submit, and for an empty stop string, ApiError as Service::limit() and queue_tokens(); none of
  // the callbacks comes then.
  //   timeout_s  for all of it, beside what the service allows; 0: none
  void start(TextRequest request, std::int64_t n, double timeout_s = 0.0);
  // Ends what is under way; on_end() comes. Any thread.
  void cancel();

 protected:
  // One at a time; all but on_start() on the text threads.
  virtual void on_start() {}  // all answers are under way, none has a token yet
  virtual void on_prompt_token(std::size_t /*choice*/, const AnsweredToken& /*token*/) {}
  virtual void on_token(std::size_t choice, const AnsweredToken& token, bool is_reasoning) = 0;
  virtual void on_text(std::size_t choice, std::string_view delta, bool is_reasoning) = 0;
  virtual void on_finish(std::size_t choice, const TextFinish& finish) = 0;
  virtual void on_end() = 0;  // after the last on_finish()

 private:
  class Choice;
  using Clock = std::chrono::steady_clock;

  void watch();  // on the strand: ends the answers when their time is over
  Clock::time_point deadline() const;

  Service& service_;
  Frontend& frontend_;
  boost::asio::strand<boost::asio::thread_pool::executor_type> strand_;
  std::mutex mutex_;  // held while answers are submitted, and by whoever touches what is below
  std::vector<std::unique_ptr<Choice>> choices_;
  std::size_t running_ = 0;
  bool refused_ = false;              // submitting failed: nobody is told of the answers
  std::shared_ptr<Generation> self_;  // while the engine has sinks of this
  Clock::time_point started_ = Clock::now(), last_token_ = started_;
  double timeout_s_ = 0.0;
  bool timed_out_ = false;
  boost::asio::steady_timer timer_;  // strand
};

}  // namespace latent8
