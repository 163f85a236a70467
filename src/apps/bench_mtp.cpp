// latent8 bench mtp: answers with drafts of the MTP layer beside the same without.

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
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
  std::int64_t prompt = 64, output = 128, rounds = 8;
  bool json = false;
};

// Tokens per second of each round, and of one beside the other: neighbours in time, so that what else the
// machine does counts in both.
struct BatchRow {
  std::int64_t batch;
  std::vector<double> without, with, ratios;
  double cpu_without_s = 0.0, cpu_with_s = 0.0;  // of this process, prompts too
  Json speculative;                              // of all rounds
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

// All prompts at once, each answered by so many tokens: tokens per second from the last first token on.
double rate_of(Engine& engine, const std::vector<std::vector<std::int32_t>>& prompts, std::int64_t output) {
  return run_prompts(ask_engine(engine), prompts, output).tokens_per_s();
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
  Engine without(model, none), with(model, options);
  const auto prompts = prompts_of(ids, batch, f.prompt);
  rate_of(without, prompts, f.output);
  rate_of(with, prompts, f.output);  // auto measures
  BatchRow row{.batch = batch, .without = {}, .with = {}, .ratios = {}, .speculative = {}};
  for (std::int64_t round = 0; round < f.rounds; ++round) {
    for (const bool drafts : {round % 2 == 0, round % 2 != 0}) {
      const std::clock_t begin = std::clock();
      (drafts ? row.with : row.without).push_back(rate_of(drafts ? with : without, prompts, f.output));
      (drafts ? row.cpu_with_s : row.cpu_without_s) +=
          static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    }
    row.ratios.push_back(row.with.back() / row.without.back());
  }
  row.speculative = speculation_json(with);
  return row;
}

double median(const std::vector<double>& values) { return percentile(values, 50); }

Json to_json(const BatchRow& row) {
  return {{"batch", row.batch},
          {"tok_per_s_without", median(row.without)},
          {"tok_per_s", median(row.with)},
          {"ratio", median(row.ratios)},
          {"ratios", row.ratios},
          {"ratio_cpu_time", row.cpu_without_s / row.cpu_with_s},
          {"speculative", row.speculative}};
}

void run_bench(const MtpBenchFlags& f) {
  if (f.model.speculative == "none")
    throw_error(ErrorCode::kInvalidArgument,
                "--speculative: auto or mtp expected, got none, which is measured beside it anyway");
  const auto checkpoint = open_checkpoint(f.model);
  need_mtp(*checkpoint);
  const std::vector<std::int32_t> ids = Tokenizer::load(f.model.model).encode(read_text_file(f.text));
  if (ids.empty()) throw_error(ErrorCode::kInvalidArgument, "--text '{}': some text expected", f.text);
  const auto model = load_model(f.model, checkpoint);
  Json rows = Json::array();
  if (!f.json)
    print_result(fmt::format("{}, {}\n{:>6}{:>16}{:>16}{:>8}{:>16}\n", cpu_name(), kernels().name, "batch",
                             "tok/s without", "tok/s with", "ratio", "tokens / step"));
  for (const std::int64_t batch : f.batches) {
    const BatchRow row = measure(model, f, ids, batch);
    rows.push_back(to_json(row));
    if (!f.json)
      print_result(fmt::format("{:>6}{:>16.1f}{:>16.1f}{:>8.3f}{:>16.2f}\n", batch, median(row.without),
                               median(row.with), median(row.ratios),
                               row.speculative["tokens_per_step"].get<double>()));
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
  app->add_option("--rounds", flags->rounds, "runs of each, in turn")
      ->check(at_least(1))
      ->capture_default_str();
  add_json_flag(*app, flags->json);
  app->footer(
      "Both engines run on the same weights, in turn, greedy; of speeds, and of their ratio in a round, the\n"
      "median is told. ratio_cpu_time of --json is that of processor time, prompts included: what others do\n"
      "on the machine shows less in it, with --threads 1.\n\n"
      "Example:\n"
      "  latent8 bench mtp --model models/tiny --text README.md --batch 1,8,32");
  app->callback([flags] { run_bench(*flags); });
}

}  // namespace latent8
