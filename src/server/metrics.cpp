#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <mutex>

namespace latent8 {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

// Up to prompts of 128K tokens, which take minutes.
const Buckets kFirstToken{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800};
const Buckets kPerToken{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5};
const Buckets kWhole{0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600};
const Buckets kTokens{1, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072, 262144};

}  // namespace

struct Metrics::Families {
  explicit Families(const std::string& model) : labels{{"model_name", model}} {}

  prometheus::Counter& counter(const std::string& name, const std::string& help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
  }
  prometheus::Gauge& gauge(const std::string& name, const std::string& help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
  }
  prometheus::Histogram& histogram(const std::string& name, const std::string& help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels, buckets);
  }

  prometheus::Registry registry;
  prometheus::Labels labels;
  prometheus::Family<prometheus::Counter>& requests = prometheus::BuildCounter()
                                                          .Name("latent8_http_requests_total")
                                                          .Help("replies by path and status")
                                                          .Register(registry);
  prometheus::Counter& prompt_tokens =
      counter("latent8_prompt_tokens_total", "prompt tokens of answers that ended");
  prometheus::Counter& generated = counter("latent8_generation_tokens_total", "tokens of answers that ended");
  prometheus::Histogram& first_token =
      histogram("latent8_time_to_first_token_seconds", "from the request to its first token", kFirstToken);
  prometheus::Histogram& per_token = histogram("latent8_time_per_output_token_seconds",
                                               "mean over an answer's tokens after the first", kPerToken);
  prometheus::Histogram& whole =
      histogram("latent8_e2e_request_latency_seconds", "from the request to its last token", kWhole);
  prometheus::Histogram& prompts = histogram("latent8_request_prompt_tokens", "tokens of a prompt", kTokens);
  prometheus::Histogram& answers =
      histogram("latent8_request_generation_tokens", "tokens of an answer", kTokens);
  prometheus::Gauge& running = gauge("latent8_num_requests_running", "answers under way");
  prometheus::Gauge& waiting = gauge("latent8_num_requests_waiting", "requests that wait for the engine");
  prometheus::Gauge& cache_usage =
      gauge("latent8_cache_usage_ratio", "share of the latent cache's pages in use");
  prometheus::Gauge& preemptions =
      gauge("latent8_num_preemptions", "answers that gave their pages back so far");
  prometheus::Gauge& steps = gauge("latent8_engine_steps", "steps of the model so far");
  prometheus::Family<prometheus::Gauge>& clipped =
      prometheus::BuildGauge()
          .Name("latent8_clipped_cache_values")
          .Help("cached latent values beyond the range of int8, by layer, so far")
          .Register(registry);
  std::mutex mutex;  // one scrape at a time
};

Metrics::Metrics(const std::string& model_name, const Engine& engine)
    : engine_(engine), families_(std::make_unique<Families>(model_name)) {}
Metrics::~Metrics() = default;

void Metrics::count_request(const std::string& path, int status) {
  families_->requests.Add({{"path", path}, {"status", std::to_string(status)}}).Increment();
}

void Metrics::observe_answer(const TextFinish& finish) {
  const Usage& usage = finish.usage;
  families_->prompt_tokens.Increment(static_cast<double>(usage.prompt_tokens));
  families_->generated.Increment(static_cast<double>(usage.completion_tokens));
  families_->prompts.Observe(static_cast<double>(usage.prompt_tokens));
  families_->answers.Observe(static_cast<double>(usage.completion_tokens));
  if (usage.completion_tokens == 0) return;
  families_->first_token.Observe(finish.ttft_s());
  families_->whole.Observe(finish.ttft_s() + usage.decode_s);
  if (usage.completion_tokens > 1)
    families_->per_token.Observe(usage.decode_s / static_cast<double>(usage.completion_tokens - 1));
}

std::string Metrics::text() {
  const std::lock_guard lock(families_->mutex);
  const EngineStats stats = engine_.stats();
  families_->running.Set(static_cast<double>(stats.running));
  families_->waiting.Set(static_cast<double>(stats.waiting));
  families_->preemptions.Set(static_cast<double>(stats.preemptions));
  families_->steps.Set(static_cast<double>(stats.steps));
  if (stats.num_blocks > 0)
    families_->cache_usage.Set(1.0 - static_cast<double>(stats.free_blocks) /
                                         static_cast<double>(stats.num_blocks));
  for (std::size_t layer = 0; layer < stats.clipped_codes.size(); ++layer) {
    prometheus::Labels labels = families_->labels;
    labels["layer"] = std::to_string(layer);
    families_->clipped.Add(labels).Set(static_cast<double>(stats.clipped_codes[layer]));
  }
  return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace latent8
