// latent8 bench serve: what clients of a server see, beside the engine alone.

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/bench_model.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/serve_load.h"
#include "apps/subcommands.h"
#include "base/log.h"
#include "kernels/kernel_table.h"
#include "server/http.h"
#include "server/service.h"
#include "sys/cpu_features.h"
#include "sys/cpu_time.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

struct ServeBenchFlags {
  BenchModelFlags model;
  std::string tokenizer = "models/tiny-r1";
  ServeLoad load;
  std::int64_t streams = 8, long_prompt = 16384, max_num_batched_tokens = 512;
  double max_stream_gap_ms = 500.0;
  bool json = false;
};

// A server in this process, on a free port of the loopback.
class BenchServer {
 public:
  explicit BenchServer(Frontend& frontend)
      : before_(thread_ids()),
        service_(frontend, {.model_names = {"bench"}, .defaults = {}, .api_keys = {}}),
        http_({.listeners = {{.host = "127.0.0.1", .port = 0}}},
              [this](std::shared_ptr<Exchange> exchange) { service_.handle(std::move(exchange)); }) {
    const std::set<pid_t> now = thread_ids();
    std::set_difference(now.begin(), now.end(), before_.begin(), before_.end(),
                        std::inserter(threads_, threads_.end()));
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", http_.port(0)); }
  // Of the network's and the text's threads: all of a server but the engine.
  double cpu_time_s() const { return latent8::cpu_time_s(threads_); }

 private:
  std::set<pid_t> before_, threads_;
  Service service_;
  HttpServer http_;
};

struct Measured {
  ServeTimes engine, server;
  double server_cpu_s = 0.0;
  StreamGaps gaps;
  double overhead() const { return server_cpu_s / server.wall_s; }
};

Frontend make_frontend(const ServeBenchFlags& f) {
  const std::string dir = f.model.checkpoint.model.empty() ? f.tokenizer : f.model.checkpoint.model;
  Tokenizer tokenizer = Tokenizer::load(dir);
  BenchModelFlags model = f.model;
  if (model.vocab == 0)
    model.vocab = tokenizer.vocab_size();  // random logits would choose tokens without text
  EngineOptions options = engine_options(model.checkpoint);
  options.max_num_seqs = std::max(f.load.clients, f.streams + 1);
  options.max_num_batched_tokens = f.max_num_batched_tokens;
  options.max_stream_gap_s = f.max_stream_gap_ms / 1e3;
  options.max_model_len = std::max(f.long_prompt, f.load.prompt_tokens) + f.load.output_tokens + 1;
  std::shared_ptr<const DeepseekModel> weights;
  {
    ThreadPool pool(model.checkpoint.threads);
    weights = make_bench_model(pool, model);
  }
  return Frontend(std::move(tokenizer), std::nullopt, Engine(std::move(weights), options));
}

// Engine, server, server, engine: so that a machine that gets slower slows both.
Measured measure(const ServeBenchFlags& f, Frontend& frontend) {
  ServeLoad load = f.load;
  load.vocab_size = frontend.tokenizer().vocab_size();
  BenchServer server(frontend);
  const AskForTokens alone = ask_engine(frontend.engine()), served = ask_server(server.url());
  ServeLoad warm_up = load;
  warm_up.requests = load.clients;
  run_load(alone, warm_up);
  Measured out;
  for (const bool is_server : {false, true, true, false}) {
    log_info(fmt::format("{} requests of {} tokens for {} more, {} at a time, to the {}", load.requests,
                         load.prompt_tokens, load.output_tokens, load.clients,
                         is_server ? "server" : "engine"));
    const double before = server.cpu_time_s();
    (is_server ? out.server : out.engine).add(run_load(is_server ? served : alone, load));
    if (is_server) out.server_cpu_s += server.cpu_time_s() - before;
  }
  if (f.long_prompt == 0) return out;
  log_info(fmt::format("{} streams, then a prompt of {} tokens beside them", f.streams, f.long_prompt));
  load.clients = f.streams;
  constexpr double kAlone_s = 10.0;
  out.gaps = run_streams(served, load, f.long_prompt, kAlone_s);
  return out;
}

Json times_json(const std::vector<double>& times) {
  return {{"p50_ms", 1e3 * percentile(times, 50)},
          {"p99_ms", 1e3 * percentile(times, 99)},
          {"max_ms", 1e3 * percentile(times, 100)}};
}

Json to_json(const ServeTimes& r) {
  return {{"tok_per_s", r.tokens_per_s()},
          {"ttft", times_json(r.first_token)},
          {"tpot", times_json(r.per_token)},
          {"inter_token", times_json(r.gaps)}};
}

std::string json_report(const ServeBenchFlags& f, const Measured& m, const EngineInfo& info) {
  Json out = {{"cpu", cpu_name()},
              {"isa", kernels().name},
              {"threads", info.threads},
              {"model", name_of(f.model)},
              {"layers", f.model.layers},
              {"clients", f.load.clients},
              {"requests", 2 * f.load.requests},
              {"prompt", f.load.prompt_tokens},
              {"output", f.load.output_tokens},
              {"engine", to_json(m.engine)},
              {"server", to_json(m.server)},
              {"server_to_engine", m.server.tokens_per_s() / m.engine.tokens_per_s()},
              {"overhead_percent", 100 * m.overhead()}};
  if (f.long_prompt > 0)
    out["long_prompt"] = {{"tokens", f.long_prompt},
                          {"streams", f.streams},
                          {"first_token_s", m.gaps.long_first_token_s},
                          {"inter_token_without", times_json(m.gaps.alone)},
                          {"inter_token_with", times_json(m.gaps.beside)}};
  return json_text(out, 2) + "\n";
}

std::string row(const char* name, const ServeTimes& r) {
  const auto pair = [](const std::vector<double>& times) {
    return fmt::format("{:.0f} / {:.0f}", 1e3 * percentile(times, 50), 1e3 * percentile(times, 99));
  };
  return fmt::format("{:<10}{:>10.1f}{:>18}{:>18}{:>18}\n", name, r.tokens_per_s(), pair(r.first_token),
                     pair(r.per_token), pair(r.gaps));
}

std::string table_text(const ServeBenchFlags& f, const Measured& m, const EngineInfo& info) {
  std::string out = fmt::format(
      "{}, {} threads, {}\n{}: {} requests of {} tokens for {} more, {} at a time\n\n"
      "{:<10}{:>10}{:>18}{:>18}{:>18}\n",
      cpu_name(), info.threads, kernels().name, name_of(f.model), 2 * f.load.requests, f.load.prompt_tokens,
      f.load.output_tokens, f.load.clients, "p50 / p99", "tok/s", "TTFT ms", "TPOT ms", "inter-token ms");
  out += row("engine", m.engine) + row("server", m.server);
  out += fmt::format(
      "\nserver / engine {:.3f}; the server's own threads take {:.2f} % of a processor (clients run on this "
      "machine too)\n",
      m.server.tokens_per_s() / m.engine.tokens_per_s(), 100 * m.overhead());
  if (f.long_prompt > 0)
    out += fmt::format(
        "{} streams, inter-token p99 (largest): {:.0f} ({:.0f}) ms; while a prompt of {} tokens comes: "
        "{:.0f} ({:.0f}) ms, "
        "its first token after {:.1f} s\n",
        f.streams, 1e3 * percentile(m.gaps.alone, 99), 1e3 * percentile(m.gaps.alone, 100), f.long_prompt,
        1e3 * percentile(m.gaps.beside, 99), 1e3 * percentile(m.gaps.beside, 100), m.gaps.long_first_token_s);
  return out;
}

void run_bench(const ServeBenchFlags& f) {
  Frontend frontend = make_frontend(f);
  const Measured measured = measure(f, frontend);
  const EngineInfo& info = frontend.engine().info();
  print_result(f.json ? json_report(f, measured, info) : table_text(f, measured, info));
}

}  // namespace

void add_bench_serve(CLI::App& bench) {
  const auto flags = std::make_shared<ServeBenchFlags>();
  CLI::App* app =
      bench.add_subcommand("serve", "a server's latencies and throughput beside the engine alone");
  add_shape_flags(*app, flags->model);
  add_cache_form_flag(*app, flags->model);
  add_model_size_flags(*app, flags->model);
  add_speculative_flags(*app, flags->model.checkpoint);
  app->add_option("--tokenizer", flags->tokenizer, "folder of the tokenizer that random weights get")
      ->type_name("DIR")
      ->capture_default_str();
  app->add_option("--batch", flags->load.clients, "requests under way at once")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--requests", flags->load.requests, "requests of each of the four runs")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--prompt", flags->load.prompt_tokens, "tokens of a prompt")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--output", flags->load.output_tokens, "tokens of an answer")
      ->check(at_least(2))
      ->capture_default_str();
  app->add_option("--streams", flags->streams, "answers under way when the long prompt comes")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--long-prompt", flags->long_prompt, "its tokens; 0: none comes")
      ->check(at_least(0))
      ->capture_default_str();
  app->add_option("--max-num-batched-tokens", flags->max_num_batched_tokens, "tokens of one step")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--max-stream-gap-ms", flags->max_stream_gap_ms,
                  "what a step may take beside streams; 0: any time")
      ->check(at_least(0))
      ->capture_default_str();
  add_json_flag(*app, flags->json);
  app->footer(
      "Requests run in turn on the engine and through HTTP in one process: engine, server, server, "
      "engine.\n\n"
      "Examples:\n"
      "  latent8 bench serve --shape v2-lite --layers 4\n"
      "  latent8 bench serve --model DIR --batch 8 --json");
  app->callback([flags] { run_bench(*flags); });
}

}  // namespace latent8
