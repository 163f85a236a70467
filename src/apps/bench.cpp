// latent8 bench: speed beside the machine's own limits.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/bench_model.h"
#include "apps/common.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "benchmark/random_model.h"
#include "benchmark/workloads.h"
#include "kernels/kernel_table.h"
#include "model/float_cache.h"
#include "model/shapes.h"
#include "sys/cpu_features.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

struct BenchFlags {
  BenchModelFlags model;
  std::vector<std::int64_t> prompts{512}, depths{0}, batches{1};
  bool json = false;
};

nlohmann::ordered_json to_json(const BenchRow& row, const MachineLimits& limits) {
  return {{"work", row.work},
          {"shape", row.shape},
          {"layers", row.layers},
          {"prompt", row.prompt},
          {"depth", row.depth},
          {"batch", row.batch},
          {"tok_per_s", row.tok_per_s},
          {"ms", row.ms},
          {"spread", row.spread},
          {"bytes", row.bytes()},
          {"int8_macs", row.int8_macs()},
          {"fp32_macs", row.fp32_macs()},
          {"percent_of_limit", row.percent_of_limit(limits)}};
}

void print_rows(const std::vector<BenchRow>& rows, const MachineLimits& limits, int threads, bool json) {
  if (json) {
    nlohmann::ordered_json out;
    out["machine"] = {{"int8_gmacs", limits.int8_gmacs},
                      {"bf16_gmacs", limits.bf16_gmacs},
                      {"fp32_gmacs", limits.fp32_gmacs},
                      {"dram_gbs", limits.dram_gbs},
                      {"threads", threads},
                      {"isa", kernels().name},
                      {"cpu", cpu_name()}};
    out["rows"] = nlohmann::ordered_json::array();
    for (const BenchRow& row : rows) out["rows"].push_back(to_json(row, limits));
    print_result(json_text(out, 2) + "\n");
    return;
  }
  print_result(
      fmt::format("{}, {} threads, {}\nlimits of this machine: int8 {:.0f}, bf16 {:.0f}, fp32 {:.0f} GMAC/s, "
                  "DRAM {:.1f} GB/s\n\n",
                  cpu_name(), threads, kernels().name, limits.int8_gmacs, limits.bf16_gmacs,
                  limits.fp32_gmacs, limits.dram_gbs));
  print_result(fmt::format("{:<10}{:<16}{:>7}{:>8}{:>8}{:>7}{:>11}{:>11}{:>8}{:>10}\n", "work", "shape",
                           "layers", "prompt", "depth", "batch", "tok/s", "ms", "spread", "of limit"));
  for (const BenchRow& r : rows)
    print_result(fmt::format("{:<10}{:<16}{:>7}{:>8}{:>8}{:>7}{:>11.1f}{:>11.3f}{:>7.0f}%{:>9.1f}%\n", r.work,
                             r.shape, r.layers, r.prompt, r.depth, r.batch, r.tok_per_s, r.ms, 100 * r.spread,
                             r.percent_of_limit(limits)));
}

// The linears of a model, once each.
struct GemmShape {
  const char* name;
  std::int64_t n, k;
};
std::vector<GemmShape> gemm_shapes(const ModelConfig& c) {
  const std::int64_t q_in = c.q_lora_rank.value_or(c.hidden_size);
  return {{"q", c.num_attention_heads * c.qk_head_dim(), q_in},
          {"kv_a", c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size},
          {"o", c.hidden_size, c.num_attention_heads * c.v_head_dim},
          {"expert up", c.moe_intermediate_size, c.hidden_size},
          {"expert down", c.hidden_size, c.moe_intermediate_size}};
}

template <class Body>
void run_bench(const BenchFlags& f, const Body& body) {
  ThreadPool pool(f.model.checkpoint.threads);
  OpContext ctx(pool);
  MachineLimits limits;
  std::vector<BenchRow> rows;
  {
    LimitMeter meter(pool, ctx.kernels());
    limits = meter.measure();
  }
  const std::string shape = name_of(f.model);
  body(ctx, rows);
  for (BenchRow& row : rows) row.shape = row.shape.empty() ? shape : shape + " " + row.shape;
  {
    LimitMeter meter(pool, ctx.kernels());
    limits = larger(limits, meter.measure());
  }
  print_rows(rows, limits, pool.threads(), f.json);
}

void bench_model(const BenchFlags& f) {
  run_bench(f, [&](OpContext& ctx, std::vector<BenchRow>& rows) {
    const std::shared_ptr<const DeepseekModel> model = make_bench_model(ctx.pool(), f.model);
    const bool random =
        f.model.checkpoint.model.empty();  // then --cache says what layers without scales have
    const BenchOptions options{
        .float_cache = float_cache_type(random ? CacheDType::kFp16 : CacheDType::kAuto, *model),
        .attention = attention_options(f.model.checkpoint),
        .prompt_before_decode = *std::max_element(f.prompts.begin(), f.prompts.end())};
    for (const std::int64_t prompt : f.prompts)
      if (prompt > 0) rows.push_back(bench_prefill(ctx, *model, prompt, options));
    for (const std::int64_t depth : f.depths)
      for (const std::int64_t batch : f.batches)
        rows.push_back(bench_decode(ctx, *model, depth, batch, options));
  });
}

void bench_attention_rows(const BenchFlags& f) {
  const ModelConfig config = shape_config_of(f.model);
  run_bench(f, [&](OpContext& ctx, std::vector<BenchRow>& rows) {
    for (const std::int64_t depth : f.depths)
      for (const std::int64_t batch : f.batches)
        rows.push_back(bench_attention(ctx, config,
                                       f.model.cache == "int8" ? CacheType::kInt8 : CacheType::kF16,
                                       std::max<std::int64_t>(depth, 1), batch, {}));
  });
}

void bench_gemm_rows(const BenchFlags& f) {
  const ModelConfig config = shape_config_of(f.model);
  run_bench(f, [&](OpContext& ctx, std::vector<BenchRow>& rows) {
    for (const GemmShape& s : gemm_shapes(config))
      for (const std::int64_t batch : f.batches) rows.push_back(bench_gemm(ctx, s.name, s.n, s.k, batch, {}));
  });
}

void add_flags(CLI::App& app, BenchFlags& f) {
  const auto positive = CLI::Range(std::int64_t{0}, std::int64_t{1} << 40);
  add_shape_flags(app, f.model);
  add_cache_form_flag(app, f.model);
  app.add_option("--depth", f.depths, "cached tokens before the measured one, comma-separated")
      ->delimiter(',')
      ->check(positive);
  app.add_option("--batch", f.batches, "sequences (rows of gemm), comma-separated")
      ->delimiter(',')
      ->check(positive);
  add_json_flag(app, f.json);
}

}  // namespace

void add_bench(CLI::App& root) {
  CLI::App* app = root.add_subcommand("bench", "measure speed beside the machine's own limits");
  const auto flags = std::make_shared<BenchFlags>();
  add_flags(*app, *flags);
  add_model_size_flags(*app, flags->model);
  app->add_option("--prefill", flags->model.checkpoint.prefill,
                  "int8: prompts attend to the cache; float: in expanded form")
      ->check(CLI::IsMember({"int8", "float"}))
      ->capture_default_str();
  app->add_option(
         "--prompt", flags->prompts,
         "tokens of a prompt, comma-separated; the longest also runs before each decode, in the same "
         "buffers; 0: no prefill")
      ->delimiter(',');
  app->footer(
      "Examples:\n"
      "  latent8 bench --shape v2-lite --layers 4 --prompt 512,2048 --depth 0,4096,32768 --batch 1,32\n"
      "  latent8 bench --model DIR --json\n"
      "  latent8 bench attention --shape r1 --depth 32768\n"
      "  latent8 bench gemm --shape v2-lite --batch 1,32,512\n"
      "  latent8 bench quantize --experts 64\n"
      "  latent8 bench serve --shape v2-lite --layers 4\n"
      "of limit = 100 * sum over operators of max(bytes / DRAM, MACs / peak of their type) / median time.");
  const auto attention_flags = std::make_shared<BenchFlags>();
  attention_flags->depths = {32768};
  CLI::App* attention =
      app->add_subcommand("attention", "decode attention alone, over more than twice the last-level cache");
  add_flags(*attention, *attention_flags);
  const auto gemm_flags = std::make_shared<BenchFlags>();
  gemm_flags->batches = {1, 32, 512};
  CLI::App* gemm = app->add_subcommand("gemm", "the int8 linears of a shape alone");
  add_flags(*gemm, *gemm_flags);
  add_bench_quantize(*app);
  add_bench_serve(*app);
  add_bench_mtp(*app);
  attention->callback([attention_flags] { bench_attention_rows(*attention_flags); });
  gemm->callback([gemm_flags] { bench_gemm_rows(*gemm_flags); });
  app->callback([app, flags] {
    if (app->get_subcommands().empty()) bench_model(*flags);
  });
}

}  // namespace latent8
