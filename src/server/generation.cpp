#include "server/generation.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "frontend/text_stream.h"
#include "server/service.h"

namespace latent8 {

// One answer: the engine's side posts to the text's side.
class Generation::Choice final : public TokenSink {
 public:
  Choice(Generation& owner, std::size_t index, TextOptions options)
      : owner_(owner), text_{*this, index}, stream_(owner.frontend_.tokenizer(), std::move(options), text_) {}
  ~Choice() override { unqueue(); }

  // Its prompt waits from now on, until the first token. Throws: as Service::queue_tokens.
  void queue(std::int64_t tokens) {
    owner_.service_.queue_tokens(tokens);
    queued_ = tokens;
  }

  // Engine thread.
  void on_prompt_token(const SampledToken& token) noexcept override {
    post([this, token = AnsweredToken(token)] { take_prompt(token); });
  }
  bool on_token(const SampledToken& token) noexcept override {
    post([this, token = AnsweredToken(token)] { take(token); });
    return true;
  }
  void on_finish(const Finish& finish) noexcept override {
    post([this, finish] { end(finish); });
  }

  // Text side.
  void set_id(RequestId id) { id_ = id; }
  void cancel() {
    if (id_ != 0 && !ended_) owner_.frontend_.engine().cancel(id_);
  }

 private:
  struct Text final : TextSink {
    Text(Choice& c, std::size_t i) : choice(c), index(i) {}
    void on_text(std::string_view delta, bool is_reasoning) noexcept override {
      choice.owner_.on_text(index, delta, is_reasoning);
    }
    void on_finish(const TextFinish& finish) noexcept override { choice.owner_.on_finish(index, finish); }
    Choice& choice;
    std::size_t index;
  };

  template <typename Work>
  void post(Work work) {
    boost::asio::post(owner_.strand_, [self = owner_.shared_from_this(), work = std::move(work)] { work(); });
  }

  void take_prompt(const AnsweredToken& token) {
    const std::lock_guard lock(owner_.mutex_);
    if (!owner_.refused_) owner_.on_prompt_token(text_.index, token);
  }

  // Tokens that were under way when a stop string had come are not part of the answer.
  void take(const AnsweredToken& token) {
    const std::lock_guard lock(owner_.mutex_);
    unqueue();
    owner_.last_token_ = Clock::now();
    if (stopped_ || owner_.refused_) return;
    ++tokens_;
    owner_.on_token(text_.index, token, stream_.in_reasoning());
    stopped_ =
        !stream_.on_token({.id = token.id, .logprob = token.logprob, .rank = token.rank, .top = token.top});
    if (stopped_) cancel();
  }

  void end(Finish finish) {
    const std::lock_guard lock(owner_.mutex_);
    ended_ = true;
    const bool last = --owner_.running_ == 0;
    if (!owner_.refused_) {
      finish.usage.completion_tokens = tokens_;
      if (stopped_) finish.reason = FinishReason::kStop;
      if (owner_.timed_out_ && finish.reason == FinishReason::kCancelled) {
        finish.reason = FinishReason::kError;
        finish.message = "the time for this answer is over";
      }
      stream_.on_finish(finish);
      if (last) owner_.on_end();
    }
    if (!last) return;
    owner_.timer_.cancel();
    owner_.self_.reset();  // the caller holds another one
  }

  void unqueue() { owner_.service_.unqueue_tokens(std::exchange(queued_, 0)); }

  Generation& owner_;
  Text text_;
  TextStream stream_;
  RequestId id_ = 0;
  std::int64_t tokens_ = 0, queued_ = 0;
  bool stopped_ = false, ended_ = false;
};

Generation::Generation(Service& service)
    : service_(service),
      frontend_(service.frontend()),
      strand_(boost::asio::make_strand(service.answer_threads().get_executor())),
      timer_(strand_) {
  service_.generation_began();
}

Generation::~Generation() {
  choices_.clear();
  service_.generation_ended();
}

void Generation::start(TextRequest request, std::int64_t n, double timeout_s) {
  service_.limit(request.prompt, request.sampling);
  timeout_s_ = timeout_s;
  const TextOptions options = frontend_.text_options(request);
  const std::lock_guard lock(mutex_);
  for (std::int64_t i = 0; i < n; ++i)
    choices_.push_back(std::make_unique<Choice>(*this, static_cast<std::size_t>(i), options));
  try {
    for (const std::unique_ptr<Choice>& choice : choices_) {
      choice->queue(static_cast<std::int64_t>(request.prompt.ids.size()));
      choice->set_id(frontend_.engine().submit({.token_ids = request.prompt.ids,
                                                .sampling = request.sampling,
                                                .mask = request.make_mask ? request.make_mask() : nullptr,
                                                .prompt_logprobs = request.prompt_logprobs,
                                                .priority = request.priority},
                                               *choice));
      ++running_;
      self_ = shared_from_this();
      ++request.sampling.seed;
    }
  } catch (...) {
    refused_ = true;
    for (const std::unique_ptr<Choice>& choice : choices_) choice->cancel();
    throw;
  }
  service_.metrics().count_received(n);
  boost::asio::post(strand_, [self = shared_from_this()] { self->watch(); });
  on_start();
}

Generation::Clock::time_point Generation::deadline() const {
  Clock::time_point first = Clock::time_point::max();
  const auto at_most = [&](Clock::time_point since, double time_s) {
    if (time_s > 0.0)
      first = std::min(
          first, since + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(time_s)));
  };
  at_most(started_, timeout_s_);
  at_most(started_, service_.options().e2e_timeout_s);
  at_most(last_token_, service_.options().token_timeout_s);
  return first;
}

void Generation::watch() {
  const std::lock_guard lock(mutex_);
  const Clock::time_point until = deadline();
  if (running_ == 0 || until == Clock::time_point::max()) return;
  if (until <= Clock::now()) {
    timed_out_ = true;
    for (const std::unique_ptr<Choice>& choice : choices_) choice->cancel();
    return;
  }
  timer_.expires_at(until);
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& cancelled) {
    if (const auto self = weak.lock(); self != nullptr && !cancelled) self->watch();
  });
}

void Generation::cancel() {
  boost::asio::post(strand_, [self = shared_from_this(), this] {
    const std::lock_guard lock(mutex_);
    for (const std::unique_ptr<Choice>& choice : choices_) choice->cancel();
  });
}

}  // namespace latent8
