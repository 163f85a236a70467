// GET /v1/stats: the engine now, for the page and for scripts. /metrics has the same for Prometheus.

#include "server/stats.h"

#include <nlohmann/json.hpp>
#include <numeric>

#include "latent8/version.h"
#include "server/reply_parts.h"
#include "server/service.h"

namespace latent8 {

double tokens_per_step(const EngineStats& stats) {
  return stats.answer_steps == 0
             ? 0.0
             : static_cast<double>(stats.generated_tokens) / static_cast<double>(stats.answer_steps);
}

nlohmann::ordered_json speculation_json(const Engine& engine) {
  const EngineStats stats = engine.stats();
  const auto total = [](const auto& counts) {
    return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  };
  return {{"max_tokens", engine.info().max_speculative_tokens},
          {"drafted", total(stats.drafted)},
          {"accepted", total(stats.accepted)},
          {"drafted_per_position", stats.drafted},
          {"accepted_per_position", stats.accepted},
          {"tokens_per_step", tokens_per_step(stats)}};
}

void engine_stats(const Call& call) {
  Service& service = call.service();
  const EngineStats stats = service.frontend().engine().stats();
  const EngineInfo& info = service.frontend().engine().info();
  call.reply(nlohmann::ordered_json{{"model", service.options().model_names.front()},
                                    {"version", kVersion},
                                    {"uptime_s", unix_time() - service.start_time()},
                                    {"running", stats.running},
                                    {"waiting", stats.waiting},
                                    {"cache",
                                     {{"pages", stats.num_blocks},
                                      {"free_pages", stats.free_blocks},
                                      {"page_tokens", info.block_size},
                                      {"bytes_per_token", info.cache_bytes_per_token}}},
                                    {"steps", stats.steps},
                                    {"prefill_tokens", stats.prefill_tokens},
                                    {"generated_tokens", stats.generated_tokens},
                                    {"preemptions", stats.preemptions},
                                    {"prefix_query_tokens", stats.prefix_query_tokens},
                                    {"prefix_hit_tokens", stats.prefix_hit_tokens},
                                    {"speculative", speculation_json(service.frontend().engine())},
                                    {"max_model_len", info.max_model_len}});
}

}  // namespace latent8
