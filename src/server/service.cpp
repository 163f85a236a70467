#include "server/service.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "formats/json.h"
#include "latent8/version.h"
#include "server/fields.h"
#include "server/mindie/routes.h"
#include "server/named_generations.h"
#include "server/page.h"
#include "server/reply_parts.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxRequestId = 128;

// A client's own id where it is harmless in a header and a log line, else a new one.
std::string request_id(const HttpRequest& request) {
  const std::string_view given = request.header("x-request-id");
  const bool usable = !given.empty() && given.size() <= kMaxRequestId &&
                      std::all_of(given.begin(), given.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (usable) return std::string(given);
  return new_id("");
}

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported:
      return 400;
    case ErrorCode::kUnavailable:
      return 429;  // the engine's queue is full
    default:
      return 500;
  }
}

void append(HttpHeaders& headers, HttpHeaders more) {
  std::move(more.begin(), more.end(), std::back_inserter(headers));
}

ToolFormat find_tool_format(const Frontend& frontend, const ServiceOptions& options) {
  if (options.tool_format) return *options.tool_format;
  return frontend.has_chat_template() ? frontend.chat_template().tool_format() : ToolFormat::kNone;
}

// In the time that depends on the lengths alone.
bool same_key(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

Call::Call(Service& service, std::shared_ptr<Exchange> exchange, std::string id, RouteMatch match)
    : service_(&service),
      exchange_(std::move(exchange)),
      id_(std::move(id)),
      match_(std::move(match)),
      start_(std::chrono::steady_clock::now()) {}

const std::string& Call::parameter(std::string_view name) const {
  static const std::string kNone;
  const auto it = match_.parameters.find(name);
  return it == match_.parameters.end() ? kNone : it->second;
}

void Call::reply(HttpReply reply) const {
  reply.headers.emplace_back("x-request-id", id_);
  append(reply.headers, service_->cors_headers(request()));
  const int status = reply.status;
  exchange_->reply(std::move(reply));
  log(status);
}

void Call::reply(const Json& json, int status) const {
  reply({.status = status, .body = json_utf8(json), .headers = {}});
}

void Call::refuse(const ApiError& error) const {
  reply(match_.entry == nullptr ? openai_reply(error) : match_.entry->to_reply(error));
}

void Call::begin_events() const {
  HttpHeaders headers{{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}, {"x-request-id", id_}};
  append(headers, service_->cors_headers(request()));
  exchange_->begin(
      {.status = 200, .content_type = "text/event-stream", .body = "", .headers = std::move(headers)});
}

bool Call::event(const Json& json) const { return exchange_->write("data: " + json_utf8(json) + "\n\n"); }

bool Call::event(std::string_view name, const Json& json) const {
  return exchange_->write(fmt::format("event: {}\ndata: {}\n\n", name, json_utf8(json)));
}

void Call::end_events(bool done_mark) const {
  if (done_mark) exchange_->write("data: [DONE]\n\n");
  exchange_->end();
  log(200);
}

void Call::log(int status) const {
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start_;
  const std::string route = match_.entry == nullptr ? "other" : match_.entry->path;
  service_->metrics().count_request(route, status);
  constexpr std::size_t kLongestPath = 200;
  const Json fields = {{"peer", request().peer},
                       {"method", request().method},
                       {"path", cut_middle(request().path, kLongestPath)},
                       {"route", route},
                       {"status", status},
                       {"seconds", took.count()},
                       {"request_id", id_}};
  std::string members = fields.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  members = members.substr(1, members.size() - 2);
  log_info(fmt::format("{} {} {} {} {:.3f} s, request {}", request().peer, request().method,
                       shown_json(Json(request().path)), status, took.count(), id_),
           members);
}

Service::Service(Frontend& frontend, ServiceOptions options)
    : frontend_(frontend),
      options_(std::move(options)),
      metrics_(options_.model_names.front(), frontend.engine()),
      start_time_(unix_time()),
      tool_format_(find_tool_format(frontend, options_)),
      named_generations_(std::make_unique<NamedGenerations>()),
      answer_threads_(static_cast<std::size_t>(options_.text_threads)),
      request_threads_(static_cast<std::size_t>(options_.text_threads)) {
  add_routes();
}

// REQUIRES: the server is gone, so that what was under way has been cancelled.
Service::~Service() {
  request_threads_.join();
  {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return generations_ == 0; });
  }
  answer_threads_.join();
}

void Service::generation_began() {
  const std::lock_guard lock(mutex_);
  ++generations_;
}

void Service::generation_ended() {
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(mutex_);
    if (--generations_ > 0) return;
    callbacks.swap(when_idle_);
    idle_.notify_all();
  }
  for (const std::function<void()>& callback : callbacks) callback();
}

void Service::when_idle(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (generations_ > 0) return when_idle_.push_back(std::move(callback));
  }
  callback();
}

void Service::limit(Prompt& prompt, SamplingParams& sampling) const {
  const auto most = static_cast<std::ptrdiff_t>(options_.max_prompt_tokens);
  const auto tokens = static_cast<std::ptrdiff_t>(prompt.ids.size());
  if (most > 0 && tokens > most) {
    if (options_.truncation == Truncation::kRefuse)
      throw ApiError{.status = 400,
                     .message = fmt::format("the prompt: at most {} tokens expected, got {}", most, tokens),
                     .param = "",
                     .code = "prompt_too_long"};
    if (options_.truncation == Truncation::kKeepEnd)
      prompt.ids.erase(prompt.ids.begin(), prompt.ids.end() - most);
    else
      prompt.ids.resize(static_cast<std::size_t>(most));
  }
  if (options_.max_output_tokens > 0)
    sampling.max_tokens = sampling.max_tokens == 0
                              ? options_.max_output_tokens
                              : std::min(sampling.max_tokens, options_.max_output_tokens);
}

void Service::queue_tokens(std::int64_t tokens) {
  const std::int64_t before = queued_tokens_.fetch_add(tokens);
  if (options_.max_queued_tokens == 0 || before == 0 || before + tokens <= options_.max_queued_tokens) return;
  queued_tokens_ -= tokens;
  throw ApiError{.status = 429,
                 .message = fmt::format("the queue is full: {} tokens of prompts wait, at most {} may",
                                        before, options_.max_queued_tokens),
                 .param = "",
                 .code = "queue_full",
                 .retry_after_s = 1};
}

void Service::add_routes() {
  routes_.add({"POST", "/v1/chat/completions", chat_completions});
  routes_.add({"POST", "/v1/completions", completions});
  routes_.add({"POST", "/v1/responses", responses});
  const auto add_anthropic = [this](const char* path, Route handle) {
    routes_.add({.method = "POST", .path = path, .handle = std::move(handle), .to_reply = anthropic_reply});
  };
  add_anthropic("/v1/messages", messages);
  add_anthropic("/v1/messages/count_tokens", count_message_tokens);
  routes_.add({"GET", "/v1/models", list_models});
  routes_.add({"GET", "/v1/models/{model}", show_model});
  routes_.add({"POST", "/tokenize", tokenize});
  routes_.add({"POST", "/detokenize", detokenize});
  routes_.add({"GET", "/v1/stats", engine_stats});
  routes_.add({"GET", "/version", [](const Call& call) { call.reply(Json{{"version", kVersion}}); }});
  add_operation_routes();
  add_mindie_routes(routes_);
  for (const EmbeddedFile& file : page_files())
    routes_.add({.method = "GET",
                 .path = page_path(file),
                 .handle = [&file](const Call& call) { call.reply(page_reply(file, call.request())); },
                 .open = true});
}

void Service::add_operation_routes() {
  constexpr Planes kHealth = kBusiness | kManagement;
  routes_.add({.method = "GET",
               .path = "/health",
               .handle = [](const Call& call) { call.reply(Json{{"status", "ok"}}); },
               .planes = kHealth,
               .open = true});
  const Route ready = [](const Call& call) {
    const bool is_ready = !call.service().draining();
    call.reply(Json{{"status", is_ready ? "ready" : "draining"}}, is_ready ? 200 : 503);
  };
  routes_.add({.method = "GET", .path = "/ready", .handle = ready, .planes = kHealth, .open = true});
  const Route metrics = [](const Call& call) {
    call.reply({.status = 200,
                .content_type = "text/plain; version=0.0.4",
                .body = call.service().metrics().text(),
                .headers = {}});
  };
  routes_.add({.method = "GET", .path = "/metrics", .handle = metrics, .planes = kMetrics});
}

RouteMatch Service::match(const HttpRequest& request) const {
  return routes_.find(options_.planes.at(request.listener), request.method, request.path);
}

void Service::handle(std::shared_ptr<Exchange> exchange) {
  RouteMatch found = match(exchange->request());
  std::string id = request_id(exchange->request());
  const std::string allowed = std::move(found.allowed);
  const RouteEntry* entry = found.entry;
  const Call call(*this, std::move(exchange), std::move(id), std::move(found));
  const HttpRequest& request = call.request();
  if (entry != nullptr) {
    ++routed_;
    boost::asio::post(request.method == "POST" ? request_threads_ : answer_threads_, [this, entry, call] {
      run(call, entry->handle);
      --routed_;
    });
  } else if (allowed.empty()) {
    call.refuse({.status = 404,
                 .message = fmt::format("no route '{}'", shown_json(Json(request.path))),
                 .param = "",
                 .code = "not_found"});
  } else {
    HttpReply reply = openai_reply({.status = 405,
                                    .message = fmt::format("{} expected for {}", allowed, request.path),
                                    .param = "",
                                    .code = "method_not_allowed"});
    reply.headers.emplace_back("allow", allowed);
    call.reply(std::move(reply));
  }
}

void Service::run(const Call& call, const Route& route) {
  try {
    route(call);
  } catch (const ApiError& error) {
    call.refuse(error);
  } catch (const Error& error) {
    const int status = status_of(error.code());
    call.refuse({.status = status,
                 .message = error.what(),
                 .param = "",
                 .code = "",
                 .retry_after_s = status == 429 ? 1 : 0});
  } catch (const std::bad_alloc&) {
    call.refuse({.status = 503,
                 .message = "not enough memory for this request",
                 .param = "",
                 .code = "",
                 .retry_after_s = 1});
  } catch (const std::exception& error) {
    log_error(fmt::format("request {}: {}", call.id(), error.what()));
    call.refuse({.status = 500, .message = "internal error", .param = "", .code = ""});
  }
}

std::optional<HttpReply> Service::guard(const HttpRequest& request) const {
  const RouteEntry* entry = match(request).entry;
  const auto to_reply = entry == nullptr ? openai_reply : entry->to_reply;
  std::optional<HttpReply> refusal;
  if (is_preflight(request)) {
    refusal = HttpReply{.status = 204, .content_type = "text/plain", .body = "", .headers = {}};
  } else if (!(entry != nullptr && entry->open) && !has_key(request)) {
    refusal =
        to_reply({.status = 401,
                  .message = "an API key expected in 'Authorization: Bearer KEY', got none that is known",
                  .param = "",
                  .code = "invalid_api_key"});
    refusal->headers.emplace_back("www-authenticate", "Bearer");
  } else if (request.method == "POST" && routed_ >= options_.max_queue) {
    refusal = to_reply(queue_full());
  }
  if (refusal) append(refusal->headers, cors_headers(request));
  return refusal;
}

// A browser asks first whether a page of another origin may ask; it sends no key then.
bool Service::is_preflight(const HttpRequest& request) const {
  return request.method == "OPTIONS" && !request.header("access-control-request-method").empty() &&
         !cors_headers(request).empty();
}

HttpHeaders Service::cors_headers(const HttpRequest& request) const {
  const std::string origin(request.header("origin"));
  const std::vector<std::string>& allowed = options_.cors_origins;
  const auto lists = [&](const std::string& text) {
    return std::find(allowed.begin(), allowed.end(), text) != allowed.end();
  };
  if (origin.empty() || !(lists("*") || lists(origin))) return {};
  return {{"access-control-allow-origin", origin},
          {"vary", "origin"},
          {"access-control-allow-methods", "GET, POST"},
          {"access-control-allow-headers", "authorization, content-type, x-api-key, x-request-id"},
          {"access-control-expose-headers", "x-request-id, retry-after"}};
}

bool Service::has_key(const HttpRequest& request) const {
  if (options_.api_keys.empty()) return true;
  std::string_view given = request.header("x-api-key");
  constexpr std::string_view kBearer = "Bearer ";
  const std::string_view authorization = request.header("authorization");
  if (given.empty() && authorization.starts_with(kBearer)) given = authorization.substr(kBearer.size());
  bool known = false;
  for (const std::string& key : options_.api_keys) known |= same_key(key, given);
  return known;
}

ApiError Service::queue_full() const {
  return {.status = 429,
          .message = fmt::format("the queue is full: {} requests wait", options_.max_queue),
          .param = "",
          .code = "queue_full",
          .retry_after_s = 1};
}

std::int64_t Service::longest_prompt() const {
  const std::int64_t most = frontend_.engine().info().max_model_len - 1;
  return options_.max_prompt_tokens > 0 ? std::min(options_.max_prompt_tokens, most) : most;
}

std::int64_t Service::longest_answer() const {
  const std::int64_t most = frontend_.engine().info().max_model_len - 1;
  return options_.max_output_tokens > 0 ? std::min(options_.max_output_tokens, most) : most;
}

void Service::admit_model(const std::string& name) const {
  const std::vector<std::string>& names = options_.model_names;
  if (std::find(names.begin(), names.end(), name) == names.end())
    throw ApiError{.status = 404,
                   .message = fmt::format("the model {} is not served here; '{}' is", shown_json(Json(name)),
                                          names.front()),
                   .param = "model",
                   .code = "model_not_found"};
}

void Service::admit_answers(std::int64_t prompts, std::int64_t n) const {
  if (prompts * n <= options_.max_queue) return;
  throw ApiError{
      .status = 400,
      .message = fmt::format("'n': at most {} answers of one request expected, got {} for each of {} "
                             "prompts; a queue (--max-queue) holds no more",
                             options_.max_queue, n, prompts),
      .param = "n",
      .code = ""};
}

void Service::admit(const Json& body) const {
  if (const std::optional<std::string> model = Fields(body).text("model")) admit_model(*model);
  if (draining_)
    throw ApiError{
        .status = 503, .message = "the server is shutting down", .param = "", .code = "", .retry_after_s = 5};
  if (frontend_.engine().stats().waiting >= options_.max_queue) throw queue_full();
}

}  // namespace latent8
