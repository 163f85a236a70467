// latent8 serve: an OpenAI-compatible server.

#include <sys/resource.h>

#include <filesystem>
#include <optional>
#include <sstream>

#include "apps/common.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "base/log.h"
#include "formats/files.h"
#include "server/memory_plan.h"
#include "server/mindie/service_config.h"
#include "server/server.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

constexpr std::int64_t kMaxNumSeqs = 16, kMaxStepTokens = 512, kMaxQueue = 4096;

struct ServeFlags {
  ModelFlags model;
  std::string config, served_name, api_key_file, tls_cert, tls_key, tls_client_ca, log_format = "text",
                                                                                   tool_parser = "auto";
  bool adapt = false, check = false;
  std::vector<std::string> api_keys, cors_origins;
  // Without a value: what --config says, else a default.
  std::optional<std::string> host;
  std::optional<std::int64_t> port, max_num_seqs, max_num_batched_tokens, max_queue, max_model_len,
      max_prompt_tokens;
  std::int64_t max_queued_tokens = 0;
  bool no_prefix_cache = false;
  double max_stream_gap_ms = 500.0;
  double drain_s = 300.0;
};

// As many descriptors as the system grants: one per stream.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::vector<std::string> read_keys(const ServeFlags& flags) {
  std::vector<std::string> keys = flags.api_keys;
  if (!flags.api_key_file.empty()) {
    std::istringstream lines(read_text_file(flags.api_key_file));
    for (std::string line; std::getline(lines, line);)
      if (!line.empty() && line.front() != '#') keys.push_back(line);
    if (keys.empty())
      throw_error(ErrorCode::kInvalidArgument, "'{}': a key per line expected, got none", flags.api_key_file);
  }
  for (const std::string& key : keys)
    if (key.empty()) throw_error(ErrorCode::kInvalidArgument, "--api-key: a key expected, got an empty text");
  return keys;
}

// nullopt: by the chat template.
std::optional<ToolFormat> read_tool_parser(const std::string& name) {
  if (name == "auto") return std::nullopt;
  const std::optional<ToolFormat> format = tool_format(name);
  if (!format)
    throw_error(ErrorCode::kInvalidArgument,
                "--tool-parser: auto, none, deepseek_v3, deepseek_v31, kimi_k2 or glm47 expected, got '{}'",
                name);
  return format;
}

void set_listener(const ServeFlags& flags, HttpListener& listener) {
  listener.host = flags.host.value_or(listener.host);
  listener.port = static_cast<std::uint16_t>(flags.port.value_or(listener.port));
  if (flags.tls_cert.empty() != flags.tls_key.empty())
    throw_error(ErrorCode::kInvalidArgument, "--tls-cert and --tls-key: both or none expected");
  if (flags.tls_cert.empty()) return;
  listener.tls = TlsFiles{.certificate = flags.tls_cert,
                          .key = flags.tls_key,
                          .key_password = "",
                          .client_ca_files = {},
                          .client_crl_files = {}};
  if (!flags.tls_client_ca.empty()) listener.tls->client_ca_files = {flags.tls_client_ca};
}

void use_config(const ServiceConfig& config, ServerOptions& options) {
  options.http.listeners = config.listeners;
  options.http.max_body_bytes = config.max_body_bytes;
  ServiceOptions& service = options.service;
  service.planes = config.planes;
  service.max_queue = std::max<std::int64_t>(config.max_requests - config.max_batch_size, 1);
  service.max_prompt_tokens = config.max_input_tokens;
  service.max_output_tokens = config.max_output_tokens;
  service.truncation = config.truncation;
  service.token_timeout_s = config.token_timeout_s;
  service.e2e_timeout_s = config.e2e_timeout_s;
  service.max_n = config.max_n;
  service.text_threads = config.text_threads;
  service.full_text_streams = config.full_text;
  if (config.cache_bytes > 0) service.cache_gib = config.cache_bytes >> 30;
}

// flags.model.model is set, whoever has said it.
ServerOptions server_options(const ServeFlags& flags, const ServiceConfig* config) {
  ServerOptions options;
  ServiceOptions& service = options.service;
  const std::filesystem::path model = std::filesystem::absolute(flags.model.model).lexically_normal();
  service.model_folder = (model.has_filename() ? model : model.parent_path()).filename().string();
  service.model_names = {service.model_folder};
  if (config != nullptr) {
    service.model_names = {config->model_name};
    use_config(*config, options);
  }
  if (!flags.served_name.empty()) service.model_names = {flags.served_name};
  set_listener(flags, options.http.listeners.front());
  service.defaults = sampling_params({}, flags.model.model);
  service.max_queue = flags.max_queue.value_or(config != nullptr ? service.max_queue : kMaxQueue);
  service.max_queued_tokens = flags.max_queued_tokens;
  service.max_prompt_tokens = flags.max_prompt_tokens.value_or(service.max_prompt_tokens);
  service.tool_format = read_tool_parser(flags.tool_parser);
  service.api_keys = read_keys(flags);
  service.cors_origins = flags.cors_origins;
  options.drain_s = flags.drain_s;
  return options;
}

EngineOptions serving_engine_options(const ServeFlags& flags, const ServiceConfig* config) {
  EngineOptions engine = engine_options(flags.model);
  engine.max_num_seqs = kMaxNumSeqs;
  engine.max_num_batched_tokens = kMaxStepTokens;
  if (config != nullptr) {
    engine.max_num_seqs = config->max_batch_size;
    engine.max_num_batched_tokens = std::min(kMaxStepTokens, config->max_prefill_tokens);
    engine.max_model_len = config->max_seq_len;
    engine.block_size = config->block_size;
    engine.cache_bytes = config->cache_bytes;
    engine.enable_nz = config->enable_nz;
    if (!flags.model.speculative) engine.speculative = config->speculative;
    if (!flags.model.num_speculative_tokens) engine.num_speculative_tokens = config->num_speculative_tokens;
  }
  engine.max_num_seqs = flags.max_num_seqs.value_or(engine.max_num_seqs);
  engine.max_num_batched_tokens = flags.max_num_batched_tokens.value_or(engine.max_num_batched_tokens);
  engine.max_model_len = flags.max_model_len.value_or(engine.max_model_len);
  engine.prefix_cache = !flags.no_prefix_cache;
  engine.max_stream_gap_s = flags.max_stream_gap_ms / 1e3;
  return engine;
}

// The file of --config; its model becomes that of the flags where they have none.
std::optional<ServiceConfig> load_config(ServeFlags& flags) {
  if (flags.config.empty()) return {};
  ServiceConfig config = read_service_config(flags.config, flags.adapt);
  if (flags.model.model.empty()) flags.model.model = config.model.string();
  return config;
}

void report(const ServeFlags& flags, const ServiceConfig& config, std::int64_t step_tokens) {
  for (const std::string& note : config.notes) log_info(fmt::format("{}: {}", flags.config, note));
  if (step_tokens < config.max_prefill_tokens)
    log_info(
        fmt::format("{}: maxPrefillTokens: prompts go in chunks, of at most {} tokens in a step, so that "
                    "running answers go on (--max-num-batched-tokens)",
                    flags.config, step_tokens));
  for (const std::string& change : config.changes)
    log_warn(fmt::format("{}: --adapt: {}", flags.config, change));
}

void warn_of_disk(const Checkpoint& checkpoint, std::int64_t free_bytes) {
  if (checkpoint.tensor_bytes() <= free_bytes) return;
  log_warn(disk_warning(checkpoint, free_bytes, measured_read_rate(checkpoint)));
}

void run_server(ServeFlags flags) {
  ServerSignals signals;
  raise_file_limit();
  if (flags.log_format == "json") set_log_format(LogFormat::kJson);
  std::optional<ServiceConfig> config = load_config(flags);
  if (flags.model.model.empty()) throw CLI::RequiredError("--model or --config");
  if (flags.check) check_sha256sums(flags.model);
  const auto checkpoint = open_checkpoint(flags.model);
  if (config && !flags.max_model_len)
    fit_to_model(*config, checkpoint->config().context_limit(), flags.adapt);
  if (config && !flags.model.speculative) fit_drafts_to_model(*config, has_mtp(*checkpoint), flags.adapt);

  EngineOptions engine = serving_engine_options(flags, config ? &*config : nullptr);
  if (config) report(flags, *config, engine.max_num_batched_tokens);
  ServerOptions options = server_options(flags, config ? &*config : nullptr);
  engine.max_waiting = options.service.max_queue;
  options.service.max_num_seqs = engine.max_num_seqs;
  options.service.max_num_batched_tokens = engine.max_num_batched_tokens;
  const std::int64_t free_bytes = memory_info().available_bytes;
  warn_of_disk(*checkpoint, free_bytes);
  Frontend frontend = Frontend::load(checkpoint, engine, model_options(flags.model));
  log_info(memory_plan(*checkpoint, frontend.engine().info(), flags.model.load == "copy", free_bytes));
  serve(frontend, options, signals);
}

void add_address_flags(CLI::App& app, ServeFlags& flags) {
  app.add_option("--host", flags.host, "address to listen on")->default_str("127.0.0.1");
  app.add_option("--port", flags.port, "port to listen on; 0: any free one")
      ->check(CLI::Range(0, 65535))
      ->default_str("8000");
  app.add_option("--api-key", flags.api_keys,
                 "a key that requests must bring (Authorization: Bearer); repeatable");
  app.add_option("--api-key-file", flags.api_key_file,
                 "the same, a key per line; others cannot read it in ps")
      ->type_name("FILE");
  app.add_option("--cors-origin", flags.cors_origins,
                 "an origin whose web pages may ask, or *; repeatable; default: none");
  app.add_option("--tls-cert", flags.tls_cert, "certificate chain (PEM); read again on SIGHUP")
      ->type_name("FILE");
  app.add_option("--tls-key", flags.tls_key, "its key (PEM)")->type_name("FILE");
  app.add_option("--tls-client-ca", flags.tls_client_ca,
                 "clients must have a certificate that this one signed")
      ->type_name("FILE");
}

void add_limit_flags(CLI::App& app, ServeFlags& flags) {
  app.add_option("--max-num-seqs", flags.max_num_seqs, "answers under way at once")
      ->check(at_least(1))
      ->default_str(std::to_string(kMaxNumSeqs));
  app.add_option("--max-num-batched-tokens", flags.max_num_batched_tokens, "tokens of one step")
      ->check(at_least(1))
      ->default_str(std::to_string(kMaxStepTokens));
  app.add_option("--max-stream-gap-ms", flags.max_stream_gap_ms,
                 "what a step may take beside answers under way: prompts come in smaller chunks; 0: any time")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_flag("--no-prefix-cache", flags.no_prefix_cache,
               "compute every prompt from its first token, though another began alike");
  app.add_option("--max-model-len", flags.max_model_len,
                 "tokens of prompt and answer; 0: as the model's config says")
      ->check(at_least(0))
      ->default_str("0");
  app.add_option("--max-prompt-tokens", flags.max_prompt_tokens,
                 "tokens of a prompt; 0: as the context holds")
      ->check(at_least(0))
      ->default_str("0");
  app.add_option("--max-queue", flags.max_queue, "requests that may wait; more are told 429")
      ->check(at_least(1))
      ->default_str(std::to_string(kMaxQueue));
  app.add_option("--max-queued-tokens", flags.max_queued_tokens,
                 "tokens of prompts that may wait together; 0: any number")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_option("--drain-timeout", flags.drain_s, "seconds that answers under way get after SIGTERM")
      ->check(at_least(0))
      ->capture_default_str();
}

}  // namespace

void add_serve(CLI::App& root) {
  const auto flags = std::make_shared<ServeFlags>();
  CLI::App* app = root.add_subcommand("serve", "answer OpenAI-compatible requests over HTTP");
  add_model_flags(*app, flags->model);
  add_speculative_flags(*app, flags->model);
  app->get_option("--model")->required(false);
  app->add_option("--config", flags->config,
                  "MindIE's config.json, in place of --model; flags that are given go before it")
      ->type_name("FILE");
  app->add_flag("--adapt", flags->adapt,
                "change what this process cannot have of --config (worldSize 8 ...), saying so, instead of "
                "refusing it")
      ->needs("--config");
  app->add_option("--served-model-name", flags->served_name,
                  "name in requests and replies; default: the folder's, or modelName of --config");
  app->add_option("--tool-parser", flags->tool_parser,
                  "how the model writes calls of tools: deepseek_v3 (R1-0528 too), deepseek_v31, kimi_k2, "
                  "glm47; auto: as its chat template does; none: calls stay text")
      ->capture_default_str();
  add_check_flag(*app, flags->check);
  add_address_flags(*app, *flags);
  add_limit_flags(*app, *flags);
  app->add_option("--log-format", flags->log_format, "lines of text, or a JSON object per line")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app->footer(
      "Routes: /v1/chat/completions, /v1/completions, /v1/responses, /v1/messages (Anthropic's), /v1/models, "
      "/tokenize, /detokenize, /health, /ready, /metrics,\n"
      "and MindIE's own: /generate, /infer, /v2/models/NAME/generate ... (docs/serving.md).\n"
      "SIGTERM finishes what is under way, a second one ends it; SIGHUP reads the TLS files again.\n\n"
      "Examples:\n"
      "  latent8 serve --model models/tiny\n"
      "  curl http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\\n"
      "    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"What is deep learning?\"}], \"stream\": "
      "true}'\n"
      "  latent8 serve --config mindie/conf/config.json --adapt");
  app->callback([flags] { run_server(*flags); });
}

}  // namespace latent8
