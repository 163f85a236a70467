// latent8 serve: an OpenAI-compatible server.

#include <sys/resource.h>

#include <filesystem>

#include "apps/common.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "base/log.h"
#include "formats/files.h"
#include "server/server.h"

namespace latent8 {
namespace {

struct ServeFlags {
  ModelFlags model;
  std::string host = "127.0.0.1", served_name, api_key_file, tls_cert, tls_key, tls_client_ca;
  std::vector<std::string> api_keys;
  std::int64_t port = 8000, max_num_seqs = 16, max_num_batched_tokens = 512, max_queue = 4096,
               max_model_len = 0;
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

ServerOptions server_options(const ServeFlags& flags) {
  ServerOptions options;
  HttpListener& listener = options.http.listeners.front();
  listener.host = flags.host;
  listener.port = static_cast<std::uint16_t>(flags.port);
  if (flags.tls_cert.empty() != flags.tls_key.empty())
    throw_error(ErrorCode::kInvalidArgument, "--tls-cert and --tls-key: both or none expected");
  if (!flags.tls_cert.empty())
    listener.tls = TlsFiles{.certificate = flags.tls_cert,
                            .key = flags.tls_key,
                            .key_password = "",
                            .client_ca_files = flags.tls_client_ca.empty() ? std::vector<std::string>{}
                                                                           : std::vector{flags.tls_client_ca},
                            .client_crl_files = {}};
  const std::filesystem::path model = std::filesystem::absolute(flags.model.model).lexically_normal();
  const std::string folder = (model.has_filename() ? model : model.parent_path()).filename().string();
  options.service.model_names = {flags.served_name.empty() ? folder : flags.served_name};
  options.service.defaults = sampling_params({}, flags.model.model);
  options.service.max_queue = flags.max_queue;
  options.service.api_keys = read_keys(flags);
  options.drain_s = flags.drain_s;
  return options;
}

void run_server(const ServeFlags& flags) {
  ServerSignals signals;
  raise_file_limit();
  const ServerOptions options = server_options(flags);
  EngineOptions engine = engine_options(flags.model);
  engine.max_num_seqs = flags.max_num_seqs;
  engine.max_num_batched_tokens = flags.max_num_batched_tokens;
  engine.max_model_len = flags.max_model_len;
  Frontend frontend = Frontend::load(open_checkpoint(flags.model), engine, model_options(flags.model));
  serve(frontend, options, signals);
}

}  // namespace

void add_serve(CLI::App& root) {
  const auto flags = std::make_shared<ServeFlags>();
  CLI::App* app = root.add_subcommand("serve", "answer OpenAI-compatible requests over HTTP");
  add_model_flags(*app, flags->model);
  app->add_option("--host", flags->host, "address to listen on")->capture_default_str();
  app->add_option("--port", flags->port, "port to listen on; 0: any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  app->add_option("--served-model-name", flags->served_name,
                  "name in requests and replies; default: the folder's");
  app->add_option("--max-num-seqs", flags->max_num_seqs, "answers under way at once")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--max-num-batched-tokens", flags->max_num_batched_tokens, "tokens of one step")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--max-model-len", flags->max_model_len,
                  "tokens of prompt and answer; 0: as the model's config says")
      ->check(at_least(0))
      ->capture_default_str();
  app->add_option("--max-queue", flags->max_queue, "requests that may wait; more are told 429")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--api-key", flags->api_keys,
                  "a key that requests must bring (Authorization: Bearer); repeatable");
  app->add_option("--api-key-file", flags->api_key_file,
                  "the same, a key per line; others cannot read it in ps");
  app->add_option("--tls-cert", flags->tls_cert, "certificate chain (PEM); read again on SIGHUP");
  app->add_option("--tls-key", flags->tls_key, "its key (PEM)");
  app->add_option("--tls-client-ca", flags->tls_client_ca,
                  "clients must have a certificate that this one signed");
  app->add_option("--drain-timeout", flags->drain_s, "seconds that answers under way get after SIGTERM")
      ->check(at_least(0))
      ->capture_default_str();
  app->footer(
      "Routes: /v1/chat/completions, /v1/completions, /v1/models, /tokenize, /detokenize, /health, /ready, "
      "/metrics.\n"
      "SIGTERM finishes what is under way, a second one ends it; SIGHUP reads the TLS files again.\n\n"
      "Examples:\n"
      "  latent8 serve --model models/tiny\n"
      "  curl http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\\n"
      "    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"What is deep learning?\"}], \"stream\": "
      "true}'");
  app->callback([flags] { run_server(*flags); });
}

}  // namespace latent8
