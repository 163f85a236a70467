#include "apps/bench_model.h"

#include <fmt/format.h>

#include "apps/output.h"
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "benchmark/random_model.h"
#include "model/shapes.h"
#include "sys/topology.h"

namespace latent8 {

void add_shape_flags(CLI::App& app, BenchModelFlags& f) {
  app.add_option("--shape", f.shape, "sizes of a known model")
      ->check(CLI::Validator(
          [](std::string& name) {
            return shape_config(name)
                       ? std::string()
                       : fmt::format("one of {} expected, got '{}'", fmt::join(known_shapes(), ", "), name);
          },
          fmt::format("{{{}}}", fmt::join(known_shapes(), ","))))
      ->capture_default_str();
  app.add_option("--threads", f.checkpoint.threads, "0: the physical cores of the affinity mask")
      ->check(CLI::Range(0, 4096));
}

void add_cache_form_flag(CLI::App& app, BenchModelFlags& f) {
  app.add_option("--cache", f.cache, "form of the latent cache")
      ->check(CLI::IsMember({"int8", "fp16"}))
      ->capture_default_str();
}

void add_model_size_flags(CLI::App& app, BenchModelFlags& f) {
  app.add_option("--model", f.checkpoint.model, "a checkpoint, mapped, instead of random weights of a shape")
      ->type_name("DIR");
  app.add_option("--layers", f.layers, "use this many layers, to fit memory")->check(at_least(1));
  app.add_option("--experts", f.experts, "use this many routed experts")->check(at_least(1));
  app.add_option("--vocab", f.vocab, "use this vocabulary size")->check(at_least(1));
}

ModelConfig shape_config_of(const BenchModelFlags& f) {
  std::optional<ModelConfig> config = shape_config(f.shape);
  LATENT8_CHECK(config.has_value());  // the flag takes known shapes only
  if (f.layers > 0) config->num_hidden_layers = f.layers;
  if (f.vocab > 0) config->vocab_size = f.vocab;
  if (f.experts > 0) {
    config->n_routed_experts = f.experts;
    if (f.experts % config->n_group != 0 || f.experts < config->num_experts_per_tok)
      throw_error(ErrorCode::kInvalidArgument, "--experts: a multiple of {} and at least {} expected, got {}",
                  config->n_group, config->num_experts_per_tok, f.experts);
  }
  return *config;
}

std::string name_of(const BenchModelFlags& f) {
  return f.checkpoint.model.empty() ? f.shape : f.checkpoint.model;
}

std::shared_ptr<const DeepseekModel> make_bench_model(ThreadPool& pool, const BenchModelFlags& f) {
  if (!f.checkpoint.model.empty())
    return std::make_shared<const DeepseekModel>(load_weights(
        open_checkpoint(f.checkpoint), {.ignore_unread_tensors = f.checkpoint.ignore_unread_tensors}));
  const ModelConfig config = shape_config_of(f);
  const std::int64_t bytes = random_model_bytes(config), available = memory_info().available_bytes;
  if (bytes > available)
    throw_error(ErrorCode::kUnavailable,
                "the weights of this shape need {}, {} are free: use fewer --layers, --experts or --vocab",
                format_bytes(bytes), format_bytes(available));
  log_info(fmt::format("making {} of random weights", format_bytes(bytes)));
  return random_model(pool, config, f.cache == "int8");
}

}  // namespace latent8
