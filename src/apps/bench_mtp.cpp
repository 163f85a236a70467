// latent8 bench mtp: answers with drafts of the MTP layer beside the same without.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/serve_load.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "base/log.h"
#include "formats/files.h"
#include "kernels/kernel_table.h"
#include "server/stats.h"
#include "sys/cpu_features.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

struct MtpBenchFlags {
  ModelFlags model;
  std::string text;
  std::vector<std::int64_t> batches{1, 8, 32};
  std::int64_t prompt = 64, output = 128;
  bool json = false;
};

// What one engine did in all its runs.
struct Speed {
  double tokens = 0.0, time_s = 0.0;
  Json speculative;
  double rate() const { return tokens / time_s; }
};

struct BatchRow {
  std::int64_t batch;
  Speed without, with;
  double ratio() const { return with.rate() / without.rate(); }
};

// Pieces of the text, one behind the other, and again from its start.
std::vector<std::vector<std::int32_t>> prompts_of(const std::vector<std::int32_t>& ids, std::int64_t count,
                                                  std::int64_t tokens) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (std::size_t at = 0; std::ssize(prompts) < count;) {
    prompts.emplace_back();
    while (std::ssize(prompts.back()) < tokens) prompts.back().push_back(ids[at++ % ids.size()]);
  }
  return prompts;
}

// All prompts at once, each answered by so many tokens: the time from the last first token to the end.
void run_batch(Engine& engine, const MtpBenchFlags& f, const std::vector<std::vector<std::int32_t>>& prompts,
               Speed& speed) {
  const ServeTimes times = run_prompts(ask_engine(engine), prompts, f.output);
  speed.tokens += static_cast<double>(times.tokens);
  speed.time_s += times.wall_s;
  speed.speculative = speculation_json(engine);
}

BatchRow measure(const std::shared_ptr<const DeepseekModel>& model, const MtpBenchFlags& f,
                 const std::vector<std::int32_t>& ids, std::int64_t batch) {
  EngineOptions options = engine_options(f.model);
  options.max_num_seqs = batch;
  options.max_model_len = f.prompt + f.output + 1;
  options.prefix_cache = false;
  EngineOptions none = options;
  none.speculative = Speculative::kNone;
  none.num_speculative_tokens = 0;
  if (options.speculative == Speculative::kNone) options.speculative = Speculative::kAuto;
  Engine without(model, none), with(model, options);
  const auto prompts = prompts_of(ids, batch, f.prompt);
  BatchRow row{.batch = batch, .without = {}, .with = {}};
  Speed warm_up;  // the measuring of auto is part of it
  run_batch(without, f, prompts, warm_up);
  run_batch(with, f, prompts, warm_up);
  for (const bool drafts : {false, true, true, false, false, true, true, false})
    run_batch(drafts ? with : without, f, prompts, drafts ? row.with : row.without);
  return row;
}

Json to_json(const BatchRow& row) {
  return {{"batch", row.batch},
          {"tok_per_s_without", row.without.rate()},
          {"tok_per_s", row.with.rate()},
          {"ratio", row.ratio()},
          {"speculative", row.with.speculative}};
}

void run_bench(const MtpBenchFlags& f) {
  const auto checkpoint = open_checkpoint(f.model);
  const std::vector<std::int32_t> ids = Tokenizer::load(f.model.model).encode(read_text_file(f.text));
  if (ids.empty()) throw_error(ErrorCode::kInvalidArgument, "--text '{}': some text expected", f.text);
  const auto model = std::make_shared<const DeepseekModel>(load_weights(
      checkpoint, {.threads = f.model.threads, .ignore_unread_tensors = f.model.ignore_unread_tensors}));
  if (!model->has_mtp())
    throw_error(ErrorCode::kInvalidArgument, "--model '{}': a checkpoint with an MTP layer expected",
                f.model.model);
  Json rows = Json::array();
  if (!f.json)
    print_result(fmt::format("{}, {}\n{:>6}{:>16}{:>16}{:>8}{:>16}\n", cpu_name(), kernels().name, "batch",
                             "tok/s without", "tok/s with", "ratio", "tokens / step"));
  for (const std::int64_t batch : f.batches) {
    const BatchRow row = measure(model, f, ids, batch);
    rows.push_back(to_json(row));
    if (!f.json)
      print_result(fmt::format("{:>6}{:>16.1f}{:>16.1f}{:>8.3f}{:>16.2f}\n", batch, row.without.rate(),
                               row.with.rate(), row.ratio(),
                               row.with.speculative["tokens_per_step"].get<double>()));
  }
  if (f.json)
    print_result(json_text(Json{{"cpu", cpu_name()}, {"isa", kernels().name}, {"rows", rows}}, 2) + "\n");
}

}  // namespace

void add_bench_mtp(CLI::App& bench) {
  const auto flags = std::make_shared<MtpBenchFlags>();
  CLI::App* app = bench.add_subcommand("mtp", "answers with drafts of the MTP layer beside the same without");
  add_model_flags(*app, flags->model);
  add_speculative_flags(*app, flags->model);
  app->add_option("--text", flags->text, "UTF-8 text that prompts are cut from")
      ->required()
      ->type_name("FILE");
  app->add_option("--batch", flags->batches, "answers under way at once, comma-separated")
      ->delimiter(',')
      ->check(at_least(1));
  app->add_option("--prompt", flags->prompt, "tokens of a prompt")->check(at_least(1))->capture_default_str();
  app->add_option("--output", flags->output, "tokens of an answer")
      ->check(at_least(2))
      ->capture_default_str();
  add_json_flag(*app, flags->json);
  app->footer(
      "Both engines run on the same weights, in turn: without, with, with, without, twice; greedy.\n\n"
      "Example:\n"
      "  latent8 bench mtp --model models/tiny --text README.md --batch 1,8,32");
  app->callback([flags] { run_bench(*flags); });
}

}  // namespace latent8
