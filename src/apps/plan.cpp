// latent8 plan: what serving a model takes and gives, before a machine for it is bought.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/bench_model.h"
#include "apps/common.h"
#include "apps/files.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "benchmark/random_model.h"
#include "benchmark/serving_plan.h"
#include "kernels/kernel_table.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

struct PlanFlags {
  BenchModelFlags model;
  std::int64_t memory = 0, context = 0, sequences = 1, chunk = 512;
  double dram_gbs = 0, int8_gmacs = 0, fp32_gmacs = 0;  // 0: measured here
  bool json = false;
};

struct PlannedModel {
  std::shared_ptr<const DeepseekModel> model;
  std::int64_t weight_bytes = 0;
};

PlannedModel planned_model(const PlanFlags& f) {
  if (f.model.checkpoint.model.empty()) {
    const ModelConfig config = shape_config_of(f.model);
    return {unfilled_model(config, /*int8_cache=*/true), random_model_bytes(config)};
  }
  const auto checkpoint = open_checkpoint(f.model.checkpoint);
  return {load_model(f.model.checkpoint, checkpoint), checkpoint->tensor_bytes()};
}

// Of this machine, but for what the flags say of another.
MachineLimits limits_of(const PlanFlags& f) {
  MachineLimits limits;
  if (f.dram_gbs == 0 || f.int8_gmacs == 0 || f.fp32_gmacs == 0) {
    ThreadPool pool(f.model.checkpoint.threads);
    limits = LimitMeter(pool, kernels()).measure();
  }
  if (f.dram_gbs > 0) limits.dram_gbs = f.dram_gbs;
  if (f.int8_gmacs > 0) limits.int8_gmacs = f.int8_gmacs;
  if (f.fp32_gmacs > 0) limits.fp32_gmacs = f.fp32_gmacs;
  return limits;
}

ServingGoal goal_of(const PlanFlags& f, const DeepseekModel& model) {
  const ContextLimit longest = model.config().context_limit();
  if (f.context > longest.tokens)
    throw_error(ErrorCode::kInvalidArgument, "--context: at most {} expected ({}), got {}", longest.tokens,
                longest.reason, f.context);
  const int threads = f.model.checkpoint.threads;
  return {.memory = f.memory > 0 ? f.memory : memory_info().available_bytes,
          .context = f.context > 0 ? f.context : longest.tokens,
          .max_num_batched_tokens = f.chunk,
          .max_num_seqs = f.sequences,
          .threads = threads > 0 ? threads : static_cast<int>(physical_cores().size())};
}

Json cache_json(const CachePlan& cache, const PlanFlags& f, const ServingGoal& goal,
                const DeepseekModel& model, const MachineLimits& limits) {
  const std::int64_t together = std::min(f.sequences, cache.sequences);
  const auto rate = [&](std::int64_t sequences) {
    return sequences > 0 ? decode_rate_limit(model, cache.type, sequences, goal.context, limits) : 0.0;
  };
  return {{"bytes_per_token", cache.bytes_per_token},
          {"bytes_per_sequence", cache.bytes_per_sequence},
          {"bytes", f.sequences * cache.bytes_per_sequence},
          {"sequences_that_fit", cache.sequences},
          {"fits", cache.sequences >= f.sequences},
          {"decode_tok_per_s_of_one", rate(1)},
          {"decode_sequences", together},
          {"decode_tok_per_s", rate(together)},
          {"prompt_s", prefill_seconds_limit(model, cache.type, goal.context, f.chunk, limits)}};
}

Json plan_json(const PlanFlags& f) {
  const PlannedModel planned = planned_model(f);
  const DeepseekModel& model = *planned.model;
  const ServingGoal goal = goal_of(f, model);
  const ServingPlan plan = plan_serving(model, planned.weight_bytes, goal);
  const MachineLimits limits = limits_of(f);
  return {{"model", name_of(f.model)},
          {"layers", model.config().num_hidden_layers},
          {"context", goal.context},
          {"sequences", f.sequences},
          {"memory_bytes", goal.memory},
          {"weights_bytes", plan.weights},
          {"step_buffer_bytes", plan.step_buffers},
          {"cache_bytes", plan.left},
          {"limits",
           {{"dram_gbs", limits.dram_gbs},
            {"int8_gmacs", limits.int8_gmacs},
            {"fp32_gmacs", limits.fp32_gmacs},
            {"threads", goal.threads}}},
          {"int8", cache_json(plan.int8, f, goal, model, limits)},
          {"fp16", cache_json(plan.fp16, f, goal, model, limits)}};
}

void print_row(const char* name, const std::string& int8, const std::string& fp16) {
  print_result(fmt::format("  {:<34}{:>14}{:>14}\n", name, int8, fp16));
}

template <class Show>
void print_row(const Json& plan, const char* name, const char* key, const Show& show) {
  print_row(name, show(plan["int8"][key]), show(plan["fp16"][key]));
}

void print_plan(const Json& p) {
  const auto bytes = [](const Json& value) { return format_bytes(value.get<std::int64_t>()); };
  const auto count = [](const Json& value) { return value.dump(); };
  const auto rate = [](const Json& value) { return fmt::format("{:.1f} tok/s", value.get<double>()); };
  print_result(
      fmt::format("{}, {} layers: weights {}, step buffers {}; of {} memory {} are left for the cache\n",
                  p["model"].get<std::string>(), p["layers"].dump(), bytes(p["weights_bytes"]),
                  bytes(p["step_buffer_bytes"]), bytes(p["memory_bytes"]), bytes(p["cache_bytes"])));
  if (p["cache_bytes"] == 0)
    print_result("  ! the weights alone are too much: mapped, they are read from the disk again and again\n");
  print_result(fmt::format("\nlatent cache at {} tokens a sequence\n", p["context"].dump()));
  print_row("", "int8", "fp16");
  print_row(p, "a token", "bytes_per_token", bytes);
  print_row(p, "a sequence", "bytes_per_sequence", bytes);
  print_row(p, "sequences that fit", "sequences_that_fit", count);
  print_row(p, fmt::format("{} sequences take", p["sequences"].dump()).c_str(), "bytes", bytes);
  print_row(p, "... and fit", "fits", [](const Json& fits) { return fits.get<bool>() ? "yes" : "no"; });
  const Json& limits = p["limits"];
  print_result(fmt::format("\nat most, by DRAM {:.1f} GB/s, int8 {:.0f} and fp32 {:.0f} GMAC/s\n",
                           limits["dram_gbs"].get<double>(), limits["int8_gmacs"].get<double>(),
                           limits["fp32_gmacs"].get<double>()));
  print_row(p, "decode of one sequence", "decode_tok_per_s_of_one", rate);
  print_row(p, "sequences together, of those wanted", "decode_sequences", count);
  print_row(p, "their decode, all together", "decode_tok_per_s", rate);
  print_row(p, "a prompt of that length", "prompt_s",
            [](const Json& value) { return fmt::format("{:.0f} s", value.get<double>()); });
}

void add_goal_flags(CLI::App& app, PlanFlags& f) {
  app.add_option("--memory", f.memory, "for weights, cache and buffers, as 768G; default: what is free here")
      ->transform(size_in_bytes());
  app.add_option("--context", f.context, "tokens of a sequence; default: the model's longest")
      ->check(at_least(1));
  app.add_option("--sequences", f.sequences, "sequences at once")->check(at_least(1))->capture_default_str();
  app.add_option("--chunk", f.chunk, "prompt tokens of a step")->check(at_least(1))->capture_default_str();
  app.add_option("--dram-gbs", f.dram_gbs, "GB/s that another machine reads; default: measured here")
      ->check(at_least(0));
  app.add_option("--int8-gmacs", f.int8_gmacs, "10^9 int8 multiply-adds per second, likewise")
      ->check(at_least(0));
  app.add_option("--fp32-gmacs", f.fp32_gmacs, "10^9 fp32 multiply-adds per second, likewise")
      ->check(at_least(0));
}

}  // namespace

void add_plan(CLI::App& root) {
  const auto flags = std::make_shared<PlanFlags>();
  CLI::App* app =
      root.add_subcommand("plan", "say what serving a model takes, and how fast it can be at most");
  add_shape_flags(*app, flags->model);
  add_model_size_flags(*app, flags->model);
  add_goal_flags(*app, *flags);
  add_json_flag(*app, flags->json);
  app->footer(
      "Examples:\n"
      "  latent8 plan --model DIR --memory 768G --context 131072 --sequences 32\n"
      "  latent8 plan --shape r1 --memory 768G --dram-gbs 600 --int8-gmacs 90000 --fp32-gmacs 5000");
  app->callback([flags] {
    const Json plan = plan_json(*flags);
    if (flags->json)
      print_result(json_text(plan, 2) + "\n");
    else
      print_plan(plan);
  });
}

}  // namespace latent8
