// Health, figures and the end of the service, as the reference has them for operators.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "latent8/version.h"
#include "server/api_error.h"
#include "server/fields.h"
#include "server/mindie/routes.h"
#include "server/reply_parts.h"
#include "server/service.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

void reply_status(const Call& call, int status) {
  call.reply({.status = status, .content_type = "text/plain", .body = "", .headers = {}});
}

bool is_ready(const Call& call) {
  return !call.service().draining() &&
         call.service().frontend().engine().stats().waiting < call.service().options().max_queue;
}

struct Slots {
  EngineStats stats;
  std::int64_t total, free;
};

Slots slots(const Call& call) {
  const Engine& engine = call.service().frontend().engine();
  Slots out{.stats = engine.stats(), .total = call.service().options().max_num_seqs, .free = 0};
  out.free = std::max<std::int64_t>(out.total - out.stats.running - out.stats.waiting, 0);
  return out;
}

}  // namespace

void live(const Call& call) { reply_status(call, 200); }
void ready(const Call& call) { reply_status(call, is_ready(call) ? 200 : 503); }

void model_ready(const Call& call) {
  check_model(call);
  ready(call);
}

void server_info(const Call& call) {
  const EngineInfo& info = call.service().frontend().engine().info();
  const ServiceOptions& options = call.service().options();
  Json models = Json::array();
  for (const std::string& name : options.model_names)
    models.push_back({{"model_device_type", "cpu"},
                      {"model_dtype", nullptr},
                      {"model_id", name},
                      {"model_pipeline_tag", "text-generation"},
                      {"model_sha", nullptr},
                      {"max_total_tokens", info.max_model_len}});
  call.reply(Json{{"docker_label", nullptr},
                  {"max_batch_total_tokens", options.max_num_batched_tokens},
                  {"max_best_of", 1},
                  {"max_concurrent_requests", options.max_num_seqs},
                  {"max_stop_sequences", nullptr},
                  {"max_waiting_tokens", nullptr},
                  {"sha", nullptr},
                  {"validation_workers", nullptr},
                  {"version", kVersion},
                  {"waiting_served_ratio", nullptr},
                  {"models", std::move(models)},
                  {"max_input_length", call.service().longest_prompt()}});
}

void slot_count(const Call& call) {
  check_model(call);
  const Slots s = slots(call);
  call.reply(Json{{"total_slots", s.total},
                  {"free_slots", s.free},
                  {"available_tokens_length",
                   s.stats.free_blocks * call.service().frontend().engine().info().block_size}});
}

void recent_metrics(const Call& call) {
  const EngineStats stats = call.service().frontend().engine().stats();
  const Metrics& metrics = call.service().metrics();
  const std::string instance(call.request().header("host"));
  Json result = Json::array();
  const auto add = [&](const char* name, std::int64_t value) {
    result.push_back(
        {{"metric", Json::array({{{"__name__", name}, {"job", "node"}, {"instance", instance}}})},
         {"value", std::to_string(value)}});
  };
  constexpr double kMs = 1000.0;
  add("TTFT", std::llround(metrics.recent_first_token_s() * kMs));
  add("TBT", std::llround(metrics.recent_per_token_s() * kMs));
  add("waitingInferRequestNum", stats.waiting);
  add("processingInferRequestNum", stats.running);
  add("remainBlocks", stats.free_blocks);
  call.reply(Json{{"resultType", "vector"}, {"result", std::move(result)}});
}

void server_config(const Call& call) {
  const EngineInfo& info = call.service().frontend().engine().info();
  const ServiceOptions& options = call.service().options();
  call.reply(Json{{"modelName", options.model_names.front()},
                  {"maxSeqLen", info.max_model_len},
                  {"npuMemSize", options.cache_gib},
                  {"cpuMemSize", 0},
                  {"worldSize", 1},
                  {"maxOutputLen", call.service().longest_answer()},
                  {"cacheBlockSize", info.block_size}});
}

void server_status(const Call& call) {
  if (call.service().draining())
    throw ApiError{.status = 503, .message = "the service has been stopped", .param = "", .code = ""};
  const Slots s = slots(call);
  call.reply(Json{{"service", {{"roleStatus", "RoleReady"}, {"currentRole", "none"}}},
                  {"resource",
                   {{"availSlotsNum", s.free},
                    {"availBlockNum", s.stats.free_blocks},
                    {"waitingRequestNum", s.stats.waiting},
                    {"runningRequestNum", s.stats.running},
                    {"swappedRequestNum", 0},
                    {"freeNpuBlockNums", s.stats.free_blocks},
                    {"freeCpuBlockNums", 0},
                    {"totalNpuBlockNums", s.stats.num_blocks},
                    {"totalCpuBlockNums", 0}}},
                  {"linkStatus", {{"peers", Json::array()}}}});
}

// Answers when nothing is under way any more, and ends the process as SIGTERM does; ?mode=Force at once.
void stop_service(const Call& call) {
  if (call.service().draining())
    throw ApiError{.status = 503, .message = "the service has been stopped", .param = "", .code = ""};
  const bool force = call.request().query == "mode=Force";
  call.service().drain();
  const auto stop = [call, force] {
    reply_status(call, 200);
    kill(getpid(), SIGTERM);
    if (force) kill(getpid(), SIGINT);  // a second signal ends what is under way
  };
  if (force)
    stop();
  else
    call.service().when_idle(stop);
}

void count_tokens(const Call& call) {
  const Json json = parse_body(call.request().body);
  const Fields body(json);
  const std::optional<std::string> text = body.text("inputs");
  if (!text || text->empty()) body.refuse("inputs", "a text that is not empty");
  const Frontend& frontend = call.service().frontend();
  const std::vector<std::int32_t> ids = frontend.tokenizer().encode_prompt(*text);
  Json tokens = Json::array();
  if (body.boolean("do_decode").value_or(true))
    for (const std::int32_t id : ids) tokens.push_back(token_text(frontend.tokenizer(), id));
  call.reply(Json{{"token_number", ids.size()}, {"tokens", std::move(tokens)}});
}

}  // namespace latent8
