#include "apps/remote_model.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json.h"

namespace latent8 {
namespace {

using SortedJson = nlohmann::json;

constexpr std::size_t kMaxEvent = std::size_t{1} << 20;

// The text at a place of a reply; "" where there is none.
std::string text_at(const SortedJson& json, const char* pointer) {
  const SortedJson::json_pointer at(pointer);
  return json.contains(at) && json.at(at).is_string() ? json.at(at).get<std::string>() : "";
}

std::int64_t count_at(const SortedJson& json, const char* pointer) {
  const SortedJson::json_pointer at(pointer);
  return json.contains(at) && json.at(at).is_number_integer() ? json.at(at).get<std::int64_t>() : 0;
}

FinishReason reason_of(const std::string& text) {
  if (text == "length") return FinishReason::kLength;
  return text == "abort" ? FinishReason::kCancelled : FinishReason::kStop;
}

// A streamed chat completion, event by event.
class Events {
 public:
  Events(std::string where, TextSink* also) : where_(std::move(where)), also_(also) {}

  void push(std::string_view bytes) {
    rest_ += bytes;
    std::size_t from = 0;
    for (std::size_t end; (end = rest_.find('\n', from)) != std::string::npos; from = end + 1)
      take_line(std::string_view(rest_).substr(from, end - from));
    rest_.erase(0, from);
    if (rest_.size() > kMaxEvent)
      throw_error(ErrorCode::kCorrupt, "{}: events of at most {} bytes expected", where_, kMaxEvent);
  }
  bool ended() const { return ended_; }
  GeneratedText& answer() { return answer_; }

 private:
  void take_line(std::string_view line) {
    constexpr std::string_view kData = "data:";
    if (!line.starts_with(kData)) return;
    line.remove_prefix(kData.size());
    while (line.ends_with('\r')) line.remove_suffix(1);
    while (line.starts_with(' ')) line.remove_prefix(1);
    if (line == "[DONE]")
      ended_ = true;
    else
      take(parse_json(line, where_));
  }

  void take(const SortedJson& event) {
    if (const std::string message = text_at(event, "/error/message"); !message.empty())
      throw Error(ErrorCode::kUnavailable, where_ + ": " + message);
    std::string reasoning = text_at(event, "/choices/0/delta/reasoning_content");
    if (reasoning.empty()) reasoning = text_at(event, "/choices/0/delta/reasoning");
    tell(reasoning, answer_.reasoning, /*is_reasoning=*/true);
    tell(text_at(event, "/choices/0/delta/content"), answer_.content, /*is_reasoning=*/false);
    if (const std::string reason = text_at(event, "/choices/0/finish_reason"); !reason.empty())
      answer_.finish.reason = reason_of(reason);
    if (event.contains("usage") && event["usage"].is_object()) {
      answer_.finish.usage.prompt_tokens = count_at(event, "/usage/prompt_tokens");
      answer_.finish.usage.completion_tokens = count_at(event, "/usage/completion_tokens");
    }
  }

  void tell(const std::string& delta, std::string& to, bool is_reasoning) {
    if (delta.empty()) return;
    to += delta;
    if (also_ != nullptr) also_->on_text(delta, is_reasoning);
  }

  std::string where_, rest_;
  TextSink* also_;
  GeneratedText answer_;
  bool ended_ = false;
};

// What a server says where it refuses: OpenAI's error, else the status.
[[noreturn]] void refuse(const std::string& where, const HttpReply& reply) {
  std::string message;
  try {
    message = text_at(parse_json(reply.body, where), "/error/message");
  } catch (const Error&) {
    // no JSON: the status has to do
  }
  throw_error(reply.status < 500 ? ErrorCode::kInvalidArgument : ErrorCode::kUnavailable, "{}: status {}{}{}",
              where, reply.status, message.empty() ? "" : ": ", message);
}

}  // namespace

void add_remote_flags(CLI::App& app, RemoteFlags& flags) {
  app.add_option("--url", flags.url, "ask a server instead, e.g. http://127.0.0.1:8000")->type_name("URL");
  app.add_option("--api-key", flags.api_key, "the server's key; others cannot read the variable in ps")
      ->envname("LATENT8_API_KEY");
  app.add_option("--ca-file", flags.ca_file, "certificates (PEM) to trust for https instead of the system's")
      ->type_name("FILE");
}

RemoteModel::RemoteModel(const RemoteFlags& flags, const SamplingFlags& sampling,
                         const OrderedJson& variables, const std::string& json_schema)
    : server_{.url = HttpUrl::parse(flags.url), .ca_file = flags.ca_file}, api_key_(flags.api_key) {
  if (server_.url.path.ends_with("/v1")) server_.url.path.resize(server_.url.path.size() - 3);
  OrderedJson body = {
      {"stream", true}, {"stream_options", {{"include_usage", true}}}, {"seed", sampling.seed}};
  if (sampling.max_tokens > 0) body["max_tokens"] = sampling.max_tokens;
  if (sampling.temperature) body["temperature"] = *sampling.temperature;
  if (sampling.top_p) body["top_p"] = *sampling.top_p;
  if (sampling.top_k) body["top_k"] = *sampling.top_k;
  if (!sampling.stop.empty()) body["stop"] = sampling.stop;
  if (!variables.empty()) body["chat_template_kwargs"] = variables;
  if (!json_schema.empty())
    body["response_format"] = {
        {"type", "json_schema"},
        {"json_schema", {{"name", "answer"}, {"schema", OrderedJson::parse(json_schema)}, {"strict", true}}}};
  body_ = std::make_shared<const OrderedJson>(std::move(body));
}

GeneratedText RemoteModel::generate(const OrderedJson& messages, TextSink* also,
                                    const std::atomic<bool>& interrupted) {
  const std::string where = server_.url.text();
  Events events(where, also);
  OrderedJson body = *body_;
  body["messages"] = messages;
  HttpCall call{.method = "POST",
                .path = "/v1/chat/completions",
                .headers = {{"content-type", "application/json"}},
                .body = json_text(body, -1),
                .on_body =
                    [&](std::string_view bytes) {
                      events.push(bytes);
                      return !events.ended();
                    },
                .interrupted = &interrupted};
  if (!api_key_.empty()) call.headers.emplace_back("authorization", "Bearer " + api_key_);
  const HttpReply reply = http_call(server_, call);
  GeneratedText& answer = events.answer();
  if (!events.ended() && !interrupted) {
    if (reply.status != 200) refuse(where, reply);
    throw_error(ErrorCode::kUnavailable, "{}: the connection ended before the answer did", where);
  }
  if (!events.ended()) answer.finish.reason = FinishReason::kCancelled;
  if (also != nullptr) also->on_finish(answer.finish);
  return std::move(answer);
}

}  // namespace latent8
