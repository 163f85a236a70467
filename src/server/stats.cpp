// GET /v1/stats: the engine now, for the page and for scripts. /metrics has the same for Prometheus.

#include <nlohmann/json.hpp>

#include "latent8/version.h"
#include "server/reply_parts.h"
#include "server/service.h"

namespace latent8 {

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
                                    {"max_model_len", info.max_model_len}});
}

}  // namespace latent8
