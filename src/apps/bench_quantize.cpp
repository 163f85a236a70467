// latent8 bench quantize: the quantiser's speed on one layer of R1's shape, beside the machine's own limits.

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/files.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "benchmark/quantize_bench.h"
#include "benchmark/random_source.h"
#include "kernels/kernel_table.h"
#include "sys/cpu_features.h"

namespace latent8 {
namespace {

struct QuantizeBenchFlags {
  QuantizeBenchOptions options;
  std::string dir, dtype = "fp8";
  std::int64_t experts = 256;
  bool json = false;
};

nlohmann::ordered_json to_json(const CoreRates& rates) {
  return {{"gbs", rates.all_threads}, {"gbs_per_core", rates.per_core}};
}

nlohmann::ordered_json to_json(const LayerRun& run) {
  return {{"seconds", run.seconds}, {"gbs", run.gbs}, {"peak_memory", run.peak_memory}};
}

std::string json_report(const QuantizeBenchFlags& f, const QuantizeBench& b) {
  nlohmann::ordered_json out;
  out["cpu"] = cpu_name();
  out["isa"] = kernels().name;
  out["threads"] = b.threads;
  out["dtype"] = f.dtype;
  out["experts"] = f.experts;
  out["rotated"] = f.options.rotate_model;
  out["layer_bytes"] = b.layer_bytes;
  out["hot_bytes"] = b.hot_bytes;
  out["calibration_tokens"] = b.tokens;
  out["disk"] = {{"gbs", b.disk_gbs}, {"write_gbs", b.disk_write_gbs}};
  out["memory"] = {{"gbs", b.memory_gbs}};
  out["page_cache"] = to_json(b.page_cache);
  out["codes"] = to_json(b.codes);
  out["written"] = to_json(b.written);
  out["streamed_layer"] = to_json(b.streamed);
  out["calibrated_layer"] = to_json(b.calibrated);
  return json_text(out, 2) + "\n";
}

std::string table_text(const QuantizeBenchFlags& f, const QuantizeBench& b) {
  std::string out = fmt::format(
      "{}, {} threads, {}\nR1-shaped MoE layer with {} experts, {}: {:.2f} GB; rates over {:.2f} GB of "
      "experts\n\n"
      "{:<44}{:>10}{:>14}\n",
      cpu_name(), b.threads, kernels().name, f.experts, f.dtype, static_cast<double>(b.layer_bytes) / 1e9,
      static_cast<double>(b.hot_bytes) / 1e9, "GB/s of the source", "all", "per core");
  const auto row = [&](const char* what, double all, double one) {
    out += fmt::format("{:<44}{:>10.2f}{:>14}\n", what, all, one > 0 ? fmt::format("{:.2f}", one) : "");
  };
  row("disk, read", b.disk_gbs, 0);
  row("disk, written", b.disk_write_gbs, 0);
  row("memory, read", b.memory_gbs, 0);
  row("page cache, read", b.page_cache.all_threads, b.page_cache.per_core);
  row("experts, read and quantised", b.codes.all_threads, b.codes.per_core);
  row("experts, read, quantised and written", b.written.all_threads, b.written.per_core);
  const auto layer = [&](const std::string& what, const LayerRun& run) {
    out += fmt::format("{:<44}{:>8.2f} s{:>9.2f} GB/s, peak memory {}\n", what, run.seconds, run.gbs,
                       format_bytes(run.peak_memory));
  };
  out += "\nlayer from disk to disk\n";
  const char* rotated = f.options.rotate_model ? ", rotated" : "";
  layer(fmt::format("streamed{}", rotated), b.streamed);
  layer(fmt::format("calibrated with {} tokens{}", b.tokens, rotated), b.calibrated);
  return out;
}

void run(QuantizeBenchFlags& f) {
  f.options.fp8 = f.dtype == "fp8";
  f.options.dir = f.dir.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(f.dir);
  f.options.config = random_source_config(f.experts);
  if (f.experts % f.options.config.n_group != 0)
    throw_error(ErrorCode::kInvalidArgument, "--experts: a multiple of {} expected, got {}",
                f.options.config.n_group, f.experts);
  QuantizeBench bench;
  {
    Progress progress("bench quantize");
    f.options.progress = [&](int step, int steps, std::string_view what) {
      progress.update(step, steps, what);
    };
    bench = run_quantize_bench(f.options);
  }
  print_result(f.json ? json_report(f, bench) : table_text(f, bench));
}

}  // namespace

void add_bench_quantize(CLI::App& bench) {
  CLI::App* app = bench.add_subcommand("quantize", "the quantiser on one MoE layer of R1's shape");
  const auto flags = std::make_shared<QuantizeBenchFlags>();
  app->add_option("--experts", flags->experts, "routed experts of the layer; R1 has 256: 11.5 GB in fp8")
      ->check(at_least(16))
      ->capture_default_str();
  app->add_option("--dtype", flags->dtype, "of the source's weights")
      ->check(CLI::IsMember({"fp8", "bf16"}))
      ->capture_default_str();
  app->add_option("--dir", flags->dir, "a folder on the disk to measure; the layer is made in it and removed")
      ->check(CLI::ExistingDirectory)
      ->type_name("DIR");
  app->add_flag("--rot", flags->options.rotate_model, "rotate the model while its layer is read");
  app->add_option("--threads", flags->options.threads, "0: the physical cores of the affinity mask")
      ->check(CLI::Range(0, 4096));
  app->add_option("--max-memory", flags->options.max_memory,
                  "most resident memory of the quantiser, as 4GiB; default: a quarter of the machine's")
      ->transform(size_in_bytes());
  app->add_option("--prompts", flags->options.prompts, "calibration prompts")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--prompt-tokens", flags->options.prompt_tokens, "tokens of a calibration prompt")
      ->check(at_least(1))
      ->capture_default_str();
  add_json_flag(*app, flags->json);
  app->callback([flags] { run(*flags); });
}

}  // namespace latent8
