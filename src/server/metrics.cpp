#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <chrono>
#include <utility>

#include "server/stats.h"

namespace latent8 {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

// Up to prompts of 128K tokens, which take minutes.
const Buckets kFirstToken{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800};
const Buckets kPerToken{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5};
const Buckets kWhole{0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600};
const Buckets kTokens{1, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072, 262144};

// One value under two names: ours, which begin with latent8_, and the reference's.
template <class Metric>
struct Twin {
  Metric &ours, &reference;
  void Increment(double by) { ours.Increment(by), reference.Increment(by); }
  void Observe(double value) { ours.Observe(value), reference.Observe(value); }
  void Set(double value) { ours.Set(value), reference.Set(value); }
};

double share(double part, double whole) { return whole > 0.0 ? part / whole : 0.0; }

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
  Twin<prometheus::Counter> counters(const std::string& name, const std::string& help) {
    return {counter("latent8_" + name, help), counter(name, help)};
  }
  Twin<prometheus::Gauge> gauges(const std::string& name, const std::string& help) {
    return {gauge("latent8_" + name, help), gauge(name, help)};
  }
  Twin<prometheus::Histogram> histograms(const std::string& name, const std::string& help,
                                         const Buckets& buckets) {
    return {histogram("latent8_" + name, help, buckets), histogram(name, help, buckets)};
  }

  prometheus::Registry registry;
  prometheus::Labels labels;
  prometheus::Family<prometheus::Counter>& requests = prometheus::BuildCounter()
                                                          .Name("latent8_http_requests_total")
                                                          .Help("replies by path and status")
                                                          .Register(registry);
  Twin<prometheus::Counter> prompt_tokens =
      counters("prompt_tokens_total", "prompt tokens of answers that ended");
  Twin<prometheus::Counter> generated = counters("generation_tokens_total", "tokens of answers that ended");
  Twin<prometheus::Histogram> first_token =
      histograms("time_to_first_token_seconds", "from the request to its first token", kFirstToken);
  Twin<prometheus::Histogram> per_token =
      histograms("time_per_output_token_seconds", "mean over an answer's tokens after the first", kPerToken);
  Twin<prometheus::Histogram> whole =
      histograms("e2e_request_latency_seconds", "from the request to its last token", kWhole);
  Twin<prometheus::Histogram> prompts = histograms("request_prompt_tokens", "tokens of a prompt", kTokens);
  Twin<prometheus::Histogram> answers =
      histograms("request_generation_tokens", "tokens of an answer", kTokens);
  Twin<prometheus::Gauge> running = gauges("num_requests_running", "answers under way");
  Twin<prometheus::Gauge> waiting = gauges("num_requests_waiting", "requests that wait for the engine");
  Twin<prometheus::Gauge> cache_usage{
      gauge("latent8_cache_usage_ratio", "share of the latent cache's pages in use"),
      gauge("npu_cache_usage_perc", "share of the latent cache's pages in use; 1 is all")};
  Twin<prometheus::Gauge> preemptions{
      gauge("latent8_num_preemptions", "answers that gave their pages back so far"),
      gauge("num_preemptions_total", "answers that gave their pages back so far")};
  Twin<prometheus::Gauge> prefix_queries{
      gauge("latent8_prefix_cache_query_tokens", "tokens of prompts that were looked up in the prefix cache"),
      gauge("all_radix_match_num", "tokens of prompts that were looked up in the prefix cache")};
  Twin<prometheus::Gauge> prefix_hits{
      gauge("latent8_prefix_cache_hit_tokens", "tokens of prompts that were found in the prefix cache"),
      gauge("npu_radix_match_hit_num", "tokens of prompts that were found in the prefix cache")};
  prometheus::Gauge& prefix_share =
      gauge("npu_prefix_cache_hit_rate", "prompt tokens found in the prefix cache; 1 is all");
  prometheus::Family<prometheus::Gauge>& drafted = prometheus::BuildGauge()
                                                       .Name("latent8_draft_tokens")
                                                       .Help("tokens that the MTP layer guessed, by place")
                                                       .Register(registry);
  prometheus::Family<prometheus::Gauge>& accepted = prometheus::BuildGauge()
                                                        .Name("latent8_accepted_draft_tokens")
                                                        .Help("of these, those that came")
                                                        .Register(registry);
  prometheus::Gauge& tokens_per_step =
      gauge("latent8_tokens_per_step", "tokens that a step gives an answer, mean so far");
  prometheus::Gauge& steps = gauge("latent8_engine_steps", "steps of the model so far");
  prometheus::Family<prometheus::Gauge>& clipped =
      prometheus::BuildGauge()
          .Name("latent8_clipped_cache_values")
          .Help("cached latent values beyond the range of int8, by layer, so far")
          .Register(registry);

  // What only the reference has.
  prometheus::Counter& received = counter("request_received_total", "answers that were asked for");
  prometheus::Counter& succeeded = counter("request_success_total", "answers that ended as they should");
  prometheus::Counter& failed = counter("request_failed_total", "answers that failed or were cancelled");
  prometheus::Gauge& failed_share = gauge("failed_request_perc", "of those asked for; 1 is all");
  prometheus::Gauge& prompt_rate =
      gauge("avg_prompt_throughput_toks_per_s", "prompt tokens per second since the last look");
  prometheus::Gauge& generation_rate =
      gauge("avg_generation_throughput_toks_per_s", "tokens of answers per second since the last look");
  prometheus::Gauge& swapped = gauge("num_requests_swapped", "none: pages are not swapped");
  prometheus::Gauge& cpu_cache = gauge("cpu_cache_usage_perc", "0: pages are not swapped");

  std::mutex mutex;  // one scrape at a time
  EngineStats last_stats;
  std::chrono::steady_clock::time_point last_look = std::chrono::steady_clock::now();
};

Metrics::Metrics(const std::string& model_name, const Engine& engine)
    : engine_(engine), families_(std::make_unique<Families>(model_name)) {}
Metrics::~Metrics() = default;

void Metrics::count_request(const std::string& path, int status) {
  families_->requests.Add({{"path", path}, {"status", std::to_string(status)}}).Increment();
}

void Metrics::count_received(std::int64_t answers) {
  families_->received.Increment(static_cast<double>(answers));
}

void Metrics::observe_answer(const TextFinish& finish) {
  const Usage& usage = finish.usage;
  const bool ended = finish.reason == FinishReason::kStop || finish.reason == FinishReason::kLength;
  (ended ? families_->succeeded : families_->failed).Increment();
  families_->prompt_tokens.Increment(static_cast<double>(usage.prompt_tokens));
  families_->generated.Increment(static_cast<double>(usage.completion_tokens));
  families_->prompts.Observe(static_cast<double>(usage.prompt_tokens));
  families_->answers.Observe(static_cast<double>(usage.completion_tokens));
  if (usage.completion_tokens == 0) return;
  families_->first_token.Observe(finish.ttft_s());
  families_->whole.Observe(finish.ttft_s() + usage.decode_s);
  recent_first_token_.add(finish.ttft_s());
  if (usage.completion_tokens == 1) return;
  const double per_token = usage.decode_s / static_cast<double>(usage.completion_tokens - 1);
  families_->per_token.Observe(per_token);
  recent_per_token_.add(per_token);
}

std::string Metrics::text() {
  const std::lock_guard lock(families_->mutex);
  const EngineStats stats = engine_.stats();
  families_->running.Set(static_cast<double>(stats.running));
  families_->waiting.Set(static_cast<double>(stats.waiting));
  families_->preemptions.Set(static_cast<double>(stats.preemptions));
  families_->steps.Set(static_cast<double>(stats.steps));
  families_->prefix_queries.Set(static_cast<double>(stats.prefix_query_tokens));
  families_->prefix_hits.Set(static_cast<double>(stats.prefix_hit_tokens));
  families_->prefix_share.Set(
      share(static_cast<double>(stats.prefix_hit_tokens), static_cast<double>(stats.prefix_query_tokens)));
  if (stats.num_blocks > 0)
    families_->cache_usage.Set(1.0 - static_cast<double>(stats.free_blocks) /
                                         static_cast<double>(stats.num_blocks));
  families_->tokens_per_step.Set(tokens_per_step(stats));
  for (int i = 0; i < engine_.info().max_speculative_tokens; ++i) {
    prometheus::Labels labels = families_->labels;
    labels["position"] = std::to_string(i);
    const auto place = static_cast<std::size_t>(i);
    families_->drafted.Add(labels).Set(static_cast<double>(stats.drafted[place]));
    families_->accepted.Add(labels).Set(static_cast<double>(stats.accepted[place]));
  }
  for (std::size_t layer = 0; layer < stats.clipped_codes.size(); ++layer) {
    prometheus::Labels labels = families_->labels;
    labels["layer"] = std::to_string(layer);
    families_->clipped.Add(labels).Set(static_cast<double>(stats.clipped_codes[layer]));
  }
  set_rates(stats);
  return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

void Metrics::set_rates(const EngineStats& stats) {
  Families& f = *families_;
  const auto now = std::chrono::steady_clock::now();
  const double time_s = std::chrono::duration<double>(now - std::exchange(f.last_look, now)).count();
  const EngineStats before = std::exchange(f.last_stats, stats);
  f.prompt_rate.Set(share(static_cast<double>(stats.prefill_tokens - before.prefill_tokens), time_s));
  f.generation_rate.Set(share(static_cast<double>(stats.generated_tokens - before.generated_tokens), time_s));
  f.failed_share.Set(share(f.failed.Value(), f.received.Value()));
}

void RecentMean::add(double value) {
  constexpr std::size_t kWindow = 1000;
  const std::lock_guard lock(mutex_);
  values_.push_back(value);
  sum_ += value;
  if (values_.size() <= kWindow) return;
  sum_ -= values_.front();
  values_.pop_front();
}

double RecentMean::value() const {
  const std::lock_guard lock(mutex_);
  return values_.empty() ? 0.0 : sum_ / static_cast<double>(values_.size());
}

}  // namespace latent8
