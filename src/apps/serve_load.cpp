#include "apps/serve_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <future>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/rng.h"
#include "server/http_client.h"

namespace latent8 {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Tells of each token, and lets its owner wait for the end.
class TickingSink : public TokenSink {
 public:
  explicit TickingSink(const std::function<void()>& on_token) : on_token_(on_token) {}
  bool on_token(const SampledToken&) noexcept override {
    on_token_();
    return true;
  }
  void on_finish(const Finish& finish) noexcept override { finish_.set_value(finish); }
  Finish wait() { return finish_.get_future().get(); }

 private:
  const std::function<void()>& on_token_;
  std::promise<Finish> finish_;
};

std::vector<std::int32_t> random_ids(Rng& rng, std::int64_t tokens, std::int64_t vocab_size) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < tokens; ++i)
    ids.push_back(static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(vocab_size))));
  return ids;
}

// Runs body(i) on a thread of its own for each i < n; rethrows what one of them threw.
void on_threads(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  std::vector<std::future<void>> threads;
  for (std::int64_t i = 0; i < n; ++i) threads.push_back(std::async(std::launch::async, body, i));
  for (std::future<void>& thread : threads) thread.wait();
  for (std::future<void>& thread : threads) thread.get();
}

void append(std::vector<double>& to, const std::vector<double>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

AskForTokens ask_engine(Engine& engine) {
  return [&engine](const std::vector<std::int32_t>& prompt, std::int64_t output,
                   const std::function<void()>& on_token) {
    TickingSink sink(on_token);
    Request request;
    request.token_ids = prompt;
    request.sampling.max_tokens = output;
    request.sampling.ignore_eos = true;
    engine.submit(std::move(request), sink);
    const Finish finish = sink.wait();
    if (finish.reason != FinishReason::kLength)
      throw_error(ErrorCode::kInternal, "an answer of {} tokens expected, got: {}", output, finish.message);
  };
}

AskForTokens ask_server(const std::string& url) {
  return [url](const std::vector<std::int32_t>& prompt, std::int64_t output,
               const std::function<void()>& on_token) {
    std::string ids, events;
    for (const std::int32_t id : prompt) ids += fmt::format("{}{}", ids.empty() ? "" : ",", id);
    bool done = false;
    const auto take = [&](std::string_view part) {
      constexpr std::string_view kEnd = "\n\n";
      events += part;
      for (std::size_t end = events.find(kEnd); end != std::string::npos; end = events.find(kEnd)) {
        const std::string_view event = std::string_view(events).substr(0, end);
        if (event == "data: [DONE]")
          done = true;
        else if (event.find(R"("finish_reason":null)") != std::string_view::npos)
          on_token();
        events.erase(0, end + kEnd.size());
      }
      return true;
    };
    const HttpReply reply = http_call(
        {.url = HttpUrl::parse(url)},
        {.method = "POST",
         .path = "/v1/completions",
         .headers = {{"content-type", "application/json"}},
         .body = fmt::format(
             R"({{"prompt":[{}],"max_tokens":{},"temperature":0,"ignore_eos":true,"skip_special_tokens":false,"stream":true}})",
             ids, output),
         .on_body = take});
    if (reply.status != 200 || !done)
      throw_error(ErrorCode::kInternal, "a stream of {} tokens expected, got status {}: {}", output,
                  reply.status, reply.body);
  };
}

void ServeTimes::add(const ServeTimes& other) {
  append(first_token, other.first_token);
  append(per_token, other.per_token);
  append(gaps, other.gaps);
  tokens += other.tokens;
  wall_s += other.wall_s;
}

ServeTimes run_load(const AskForTokens& ask, const ServeLoad& o) {
  ServeTimes result;
  std::mutex mutex;
  std::atomic<std::int64_t> next{0};
  const Clock::time_point begin = Clock::now();
  on_threads(o.clients, [&](std::int64_t) {
    for (std::int64_t i = next++; i < o.requests; i = next++) {
      Rng rng(static_cast<std::uint64_t>(i));
      const std::vector<std::int32_t> prompt = random_ids(rng, o.prompt_tokens, o.vocab_size);
      ServeTimes mine;
      const Clock::time_point asked = Clock::now();
      Clock::time_point last = asked, first = asked;
      ask(prompt, o.output_tokens, [&] {
        const Clock::time_point now = Clock::now();
        if (mine.first_token.empty()) {
          mine.first_token.push_back(seconds(asked, now));
          first = now;
        } else {
          mine.gaps.push_back(seconds(last, now));
        }
        last = now;
      });
      if (o.output_tokens > 1)
        mine.per_token.push_back(seconds(first, last) / static_cast<double>(o.output_tokens - 1));
      mine.tokens = o.output_tokens;
      const std::lock_guard lock(mutex);
      result.add(mine);
    }
  });
  result.wall_s = seconds(begin, Clock::now());
  return result;
}

ServeTimes run_prompts(const AskForTokens& ask, std::span<const std::vector<std::int32_t>> prompts,
                       std::int64_t output) {
  std::vector<std::vector<Clock::time_point>> came(prompts.size());  // of each answer's tokens
  on_threads(std::ssize(prompts), [&](std::int64_t i) {
    auto& times = came[static_cast<std::size_t>(i)];
    ask(prompts[static_cast<std::size_t>(i)], output, [&] { times.push_back(Clock::now()); });
  });
  Clock::time_point begun{}, end{};
  for (const auto& times : came) begun = std::max(begun, times.front()), end = std::max(end, times.back());
  ServeTimes result;
  for (const auto& times : came)
    result.tokens += std::count_if(times.begin(), times.end(), [&](auto time) { return time > begun; });
  result.wall_s = seconds(begun, end);
  return result;
}

StreamGaps run_streams(const AskForTokens& ask, const ServeLoad& o, std::int64_t long_prompt,
                       double alone_s) {
  enum class Time { kStart, kAlone, kBeside, kOver };
  StreamGaps result;
  std::atomic<Time> time{Time::kStart};
  std::mutex mutex;
  const auto streams = std::async(std::launch::async, [&] {
    on_threads(o.clients, [&](std::int64_t i) {
      for (Rng rng(static_cast<std::uint64_t>(i)); time != Time::kOver;) {
        Clock::time_point last{};
        ask(random_ids(rng, o.prompt_tokens, o.vocab_size), o.output_tokens, [&] {
          const Clock::time_point now = Clock::now();
          const Time here = time;
          if (last != Clock::time_point{} && (here == Time::kAlone || here == Time::kBeside)) {
            const std::lock_guard lock(mutex);
            (here == Time::kAlone ? result.alone : result.beside).push_back(seconds(last, now));
          }
          last = now;
        });
      }
    });
  });
  const std::chrono::duration<double> wait(alone_s);
  std::this_thread::sleep_for(wait / 2);  // until all of them stream
  time = Time::kAlone;
  std::this_thread::sleep_for(wait);
  Rng rng(~std::uint64_t{0});
  const std::vector<std::int32_t> prompt = random_ids(rng, long_prompt, o.vocab_size);
  time = Time::kBeside;
  const Clock::time_point asked = Clock::now();
  ask(prompt, 1, [&] { result.long_first_token_s = seconds(asked, Clock::now()); });
  time = Time::kOver;
  streams.wait();
  return result;
}

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0.0;
  const auto rank = static_cast<std::size_t>(std::ceil(p / 100.0 * static_cast<double>(values.size())));
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace latent8
