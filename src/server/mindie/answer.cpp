#include "server/mindie/answer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "server/api_error.h"
#include "server/mindie/routes.h"
#include "server/named_generations.h"
#include "server/service.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

class MindieReply final : public Generation {
 public:
  MindieReply(const Call& call, MindieRequest request)
      : Generation(call.service()), call_(call), request_(std::move(request)), answer_(request_.answer) {
    if (answer_.parameters.return_full_text) answer_.text = answer_.prompt.text;
  }
  ~MindieReply() override { call_.service().named_generations().remove_expired(request_.user_id); }

 private:
  using Clock = std::chrono::steady_clock;

  void on_start() override {
    if (request_.stream) call_.begin_events();
  }
  void on_token(std::size_t, const AnsweredToken& token, bool) override {
    send_piece();
    answer_.ids.push_back(token.id);
    const Clock::time_point now = Clock::now();
    piece_ = {.id = token.id,
              .text = "",
              .first = answer_.ids.size() == 1,
              .last = false,
              .time_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - before_).count()};
    before_ = now;
    waits_ = true;
  }
  void on_text(std::size_t, std::string_view delta, bool) override {
    answer_.text += delta;
    piece_.text += delta;
    if (!may_be_last()) send_piece();
  }
  void on_finish(std::size_t, const TextFinish& finish) override {
    call_.service().metrics().observe_answer(finish);
    answer_.finish = finish;
    answer_.reason = reason();
    if (!answer_.parameters.keep_stop || !finish.stop_string) return;
    answer_.text += *finish.stop_string;
    piece_.text += *finish.stop_string;
  }
  void on_end() override {
    const ApiError failure{.status = 500, .message = answer_.finish.message, .param = "", .code = ""};
    const bool failed = answer_.finish.reason == FinishReason::kError;
    if (!request_.stream) return failed ? call_.refuse(failure) : call_.reply(request_.form->whole(answer_));
    piece_.last = true;
    if (failed)
      call_.event(Json::parse(mindie_reply(failure).body));
    else
      call_.exchange().write(event());
    call_.end_events(/*done_mark=*/false);
  }

  // The last event also tells how the answer ended, so its token has to wait for the end.
  bool may_be_last() const {
    const SamplingParams& sampling = answer_.parameters.sampling;
    const auto tokens = static_cast<std::int64_t>(answer_.ids.size());
    const auto prompt = static_cast<std::int64_t>(answer_.prompt.ids.size());
    return !answer_.parameters.stop.empty() || !sampling.stop_token_ids.empty() ||
           tokens >= sampling.max_tokens ||
           prompt + tokens >= call_.service().frontend().engine().info().max_model_len;
  }
  void send_piece() {
    if (!request_.stream || !std::exchange(waits_, false)) return;
    if (!call_.exchange().write(event())) cancel();
    piece_.text.clear();
  }

  std::string event() const {
    MindiePiece shown = piece_;
    if (call_.service().options().full_text_streams) shown.text = answer_.text;
    return request_.form->event(answer_, shown);
  }

  std::string reason() const {
    if (answer_.finish.reason == FinishReason::kLength) return "length";
    const std::vector<std::int32_t>& eos = call_.service().frontend().engine().info().eos_token_ids;
    const bool at_eos = answer_.finish.reason == FinishReason::kStop && !answer_.finish.stop_string &&
                        !answer_.ids.empty() &&
                        std::find(eos.begin(), eos.end(), answer_.ids.back()) != eos.end();
    return at_eos ? "eos_token" : "stop_sequence";
  }

  Call call_;
  MindieRequest request_;
  MindieAnswer& answer_;
  MindiePiece piece_;
  bool waits_ = false;  // the piece's event is not sent
  Clock::time_point before_ = Clock::now();
};

}  // namespace

MindieRequest new_mindie_request(const Call& call, const MindieForm& form, bool stream) {
  MindieRequest request;
  request.answer.id = call.id();
  request.answer.model = call.service().options().model_names.front();
  request.form = &form;
  request.stream = stream;
  return request;
}

void start_mindie_answer(const Call& call, MindieRequest request) {
  MindieAnswer& answer = request.answer;
  const MindieParameters& parameters = answer.parameters;
  const auto keep = static_cast<std::ptrdiff_t>(parameters.truncate);
  if (keep > 0 && std::ssize(answer.prompt.ids) > keep)
    answer.prompt.ids.erase(answer.prompt.ids.begin(), answer.prompt.ids.end() - keep);
  call.service().limit(answer.prompt, answer.parameters.sampling);
  TextRequest text{.prompt = answer.prompt,
                   .sampling = parameters.sampling,
                   .stop = parameters.stop,
                   .split_reasoning = false,
                   .keep_special = parameters.keep_special,
                   .mask = nullptr,
                   .priority = parameters.priority};
  const double timeout_s = parameters.timeout_s;
  const std::string user_id = request.user_id;
  const auto reply = std::make_shared<MindieReply>(call, std::move(request));
  if (!user_id.empty()) call.service().named_generations().add(user_id, reply);
  reply->start(std::move(text), 1, timeout_s);
  call.exchange().on_abort([reply] { reply->cancel(); });
}

}  // namespace latent8
