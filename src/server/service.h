#pragma once
// What the server answers with: a model behind its routes.

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "frontend/frontend.h"
#include "server/api_error.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/routes.h"

namespace latent8 {

// What is done with a prompt that is longer than ServiceOptions::max_prompt_tokens.
enum class Truncation : std::uint8_t { kRefuse, kKeepBegin, kKeepEnd };

struct ServiceOptions {
  std::vector<std::string> model_names;  // the first is what replies say; at least one
  SamplingParams defaults;               // what the checkpoint advises
  std::int64_t max_queue = 4096;         // requests that wait for the engine; more are told 429
  std::int64_t max_queued_tokens = 0;    // of prompts without a token of an answer yet; 0: any number
  std::int64_t max_prompt_tokens = 0;    // 0: as the context holds
  std::int64_t max_output_tokens = 0;    // of one answer, whatever it asks for; 0: as the context holds
  Truncation truncation = Truncation::kRefuse;
  double token_timeout_s = 0.0, e2e_timeout_s = 0.0;  // for the next token, and all of an answer; 0: none
  std::int64_t max_n = 128;
  std::vector<std::string> api_keys;        // none: every request may come
  std::vector<std::string> cors_origins;    // web pages that may ask; "*": all
  std::vector<Planes> planes{kAllButStop};  // what each listener of the HTTP server is for
  int text_threads = 2;                     // for requests, and as many for what answers say
  std::optional<ToolFormat> tool_format;    // of calls in answers; nullopt: by the chat template
  std::int64_t max_num_seqs = 0, max_num_batched_tokens = 0;  // the engine's, to be told
  std::string model_folder;                                   // name of the checkpoint's folder
  std::int64_t cache_gib = -1;                                // what was asked for; -1: from the free memory
  bool full_text_streams = false;  // streams of the reference's own routes repeat all text so far
};

class NamedGenerations;
class Service;

// One request on its way through a route. Copies are cheap. Thread-safety: as Exchange.
class Call {
 public:
  Call(Service& service, std::shared_ptr<Exchange> exchange, std::string id, RouteMatch match);

  Service& service() const { return *service_; }
  const HttpRequest& request() const { return exchange_->request(); }
  const std::string& id() const { return id_; }
  // What stands in the path for {name}; "" for a name that the route does not have.
  const std::string& parameter(std::string_view name) const;
  Exchange& exchange() const { return *exchange_; }

  // These add X-Request-Id, count, and write the access log.
  void reply(HttpReply reply) const;
  void reply(const nlohmann::ordered_json& json, int status = 200) const;
  void refuse(const ApiError& error) const;              // in the shape of the route's API
  void begin_events() const;                             // server-sent events
  bool event(const nlohmann::ordered_json& json) const;  // "data: ..."
  bool event(std::string_view name, const nlohmann::ordered_json& json) const;  // "event: NAME" before it
  void end_events(bool done_mark) const;  // "data: [DONE]" where the API has it

 private:
  void log(int status) const;

  Service* service_;
  std::shared_ptr<Exchange> exchange_;
  std::string id_;
  RouteMatch match_;
  std::chrono::steady_clock::time_point start_;
};

// Thread-safety: handle() belongs to the network thread.
class Service {
 public:
  Service(Frontend& frontend, ServiceOptions options);
  ~Service();

  void handle(std::shared_ptr<Exchange> exchange);
  // Refuses a request without a key that is known, and more requests than may wait, before its body is read.
  std::optional<HttpReply> guard(const HttpRequest& request) const;
  // From now on /ready says 503 and new answers are refused.
  void drain() { draining_ = true; }

  Frontend& frontend() { return frontend_; }
  const ServiceOptions& options() const { return options_; }
  // What a web page of the request's origin needs to read the reply; none if it may not.
  HttpHeaders cors_headers(const HttpRequest& request) const;
  Metrics& metrics() { return metrics_; }
  boost::asio::thread_pool& answer_threads() { return answer_threads_; }
  NamedGenerations& named_generations() { return *named_generations_; }
  bool draining() const { return draining_; }

  std::int64_t start_time() const { return start_time_; }
  ToolFormat tool_format() const { return tool_format_; }

  // Called by every Generation; the destructor waits for the last one.
  void generation_began();
  void generation_ended();
  // Calls back once, when no answer is under way: at once, or on whichever thread ends the last one.
  void when_idle(std::function<void()> callback);

  // Cuts or refuses a prompt that is too long, and bounds the answer. Throws: ApiError 400.
  void limit(Prompt& prompt, SamplingParams& sampling) const;
  // In tokens; what limit() and the context leave.
  std::int64_t longest_prompt() const;
  std::int64_t longest_answer() const;
  // Tokens of prompts that wait. Throws: ApiError 429 if there are too many beside others.
  void queue_tokens(std::int64_t tokens);
  void unqueue_tokens(std::int64_t tokens) { queued_tokens_ -= tokens; }

  // Throws: ApiError 404 for a model that is not served here, 503 while draining, 429 with a full queue.
  void admit(const nlohmann::ordered_json& body) const;
  void admit_model(const std::string& name) const;  // throws: ApiError 404
  // Throws: ApiError 400 for more answers than may ever wait.
  void admit_answers(std::int64_t prompts, std::int64_t n) const;

 private:
  void add_routes();
  void add_operation_routes();
  void run(const Call& call, const Route& route);
  RouteMatch match(const HttpRequest& request) const;
  bool is_preflight(const HttpRequest& request) const;
  bool has_key(const HttpRequest& request) const;
  ApiError queue_full() const;

  Frontend& frontend_;
  ServiceOptions options_;
  Metrics metrics_;
  RouteTable routes_;
  std::atomic<bool> draining_{false};
  std::atomic<std::int64_t> routed_{0};  // requests that a text thread has or will take up
  std::atomic<std::int64_t> queued_tokens_{0};
  std::int64_t start_time_;
  ToolFormat tool_format_;
  std::unique_ptr<NamedGenerations> named_generations_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::int64_t generations_ = 0;                  // guarded by mutex_
  std::vector<std::function<void()>> when_idle_;  // guarded by mutex_
  // Last: their work refers to the rest. Requests have their own: a long text or grammar among them must not
  // hold up the answers of others.
  boost::asio::thread_pool answer_threads_, request_threads_;
};

// The routes, one file each; Service::add_routes() names them.
void chat_completions(const Call& call);
void completions(const Call& call);
void responses(const Call& call);
void messages(const Call& call);
void count_message_tokens(const Call& call);
void list_models(const Call& call);
void show_model(const Call& call);
void tokenize(const Call& call);
void detokenize(const Call& call);
void engine_stats(const Call& call);

}  // namespace latent8
