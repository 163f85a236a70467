// latent8 eval needle: a grid over length and depth of whether a key in the context is found again.

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/files.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "eval/needle.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "quant/calibrate/calibration.h"
#include "text/chat_template.h"
#include "text/reasoning_parser.h"

namespace latent8 {
namespace {

struct NeedleFlags {
  ModelFlags model;
  std::string reference, text, svg;
  std::vector<std::int64_t> lengths{1024, 2048, 4000};
  std::vector<double> depths{0, 25, 50, 75, 100};  // percent
  std::int64_t samples = 4;
  std::uint64_t seed = 0;
  bool json = false;
};

// found[length][depth]: the share of the samples whose key was found.
using Grid = std::vector<std::vector<double>>;

constexpr std::string_view kSvgMark = "<!-- latent8 eval needle -->";

bool is_needle_picture(const std::filesystem::path& path) {
  return read_text_file(path).find(kSvgMark) != std::string::npos;
}

// The question as the checkpoint's template puts it, with the reasoning ended where the template begins one.
std::function<std::string(const std::string&)> question_form(const std::string& dir) {
  auto found = ChatTemplate::load(dir);
  if (!found) return [](const std::string& question) { return question + "\n"; };
  return
      [chat_template = std::make_shared<const ChatTemplate>(std::move(*found))](const std::string& question) {
        const OrderedJson messages = {{{"role", "user"}, {"content", question}}};
        const std::string text =
            chat_template->render(messages, nullptr, true, chat_template->thinking_variables(false));
        return ReasoningParser::prompt_opens(text) ? text + "</think>\n\n" : text;
      };
}

Grid measure(const NeedleFlags& f, const ModelFlags& model_flags, const NeedleMaker& maker,
             Progress& progress, std::int64_t done, std::int64_t total) {
  const auto checkpoint = open_checkpoint(model_flags);
  const auto model = load_model(model_flags, checkpoint);
  EvalOptions options;
  options.attention = attention_options(model_flags);
  options.float_cache = float_cache_type(model_flags, *checkpoint);
  ThreadPool pool(model_flags.threads);
  OpContext ctx(pool);
  Grid grid;
  for (const std::int64_t length : f.lengths) {
    std::vector<double>& row = grid.emplace_back();
    for (const double depth : f.depths) {
      std::int64_t found = 0;
      for (std::int64_t s = 0; s < f.samples; ++s) {
        const std::uint64_t seed = f.seed + static_cast<std::uint64_t>(s);
        found += finds_needle(ctx, {*model, options}, maker.make(length, depth / 100, seed)) ? 1 : 0;
        progress.update(++done, total);
      }
      row.push_back(static_cast<double>(found) / static_cast<double>(f.samples));
    }
  }
  return grid;
}

double mean(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// One cell a length and depth, from red (never found) to green (always).
std::string svg(const NeedleFlags& f, const Grid& grid) {
  constexpr int kWidth = 72, kHeight = 32, kLeft = 76, kTop = 56;
  const int width = kLeft + kWidth * static_cast<int>(f.lengths.size()) + 12;
  const int height = kTop + kHeight * static_cast<int>(f.depths.size()) + 12;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" "
      "font-size=\"13\">{}\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
      "<text x=\"12\" y=\"20\">keys found, by tokens of context and depth of the key in it</text>\n",
      width, height, kSvgMark);
  const auto text = [&](int x, int y, const std::string& anchor, const std::string& content) {
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor, content);
  };
  for (std::size_t l = 0; l < f.lengths.size(); ++l)
    text(kLeft + static_cast<int>(l) * kWidth + kWidth / 2, kTop - 10, "middle",
         std::to_string(f.lengths[l]));
  for (std::size_t d = 0; d < f.depths.size(); ++d) {
    const int y = kTop + static_cast<int>(d) * kHeight;
    text(kLeft - 10, y + 21, "end", fmt::format("{} %", f.depths[d]));
    for (std::size_t l = 0; l < f.lengths.size(); ++l) {
      const int x = kLeft + static_cast<int>(l) * kWidth;
      out +=
          fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"hsl({:.0f} 55% 70%)\"/>\n",
                      x, y, kWidth - 2, kHeight - 2, 120 * grid[l][d]);
      text(x + kWidth / 2, y + 21, "middle", fmt::format("{:.0f} %", 100 * grid[l][d]));
    }
  }
  return out + "</svg>\n";
}

void print_grid(const NeedleFlags& f, const Grid& grid, const char* title) {
  print_result(fmt::format("{}\n{:>8}", title, "tokens"));
  for (const double depth : f.depths) print_result(fmt::format("{:>7} %", depth));
  print_result("\n");
  for (std::size_t l = 0; l < f.lengths.size(); ++l) {
    print_result(fmt::format("{:>8}", f.lengths[l]));
    for (const double share : grid[l]) print_result(fmt::format("{:>7.0f} %", 100 * share));
    print_result("\n");
  }
}

OrderedJson grid_json(const NeedleFlags& f, const Grid& grid) {
  std::vector<double> means;
  for (const std::vector<double>& row : grid) means.push_back(mean(row));
  return {{"lengths", f.lengths}, {"depths", f.depths},      {"samples", f.samples},
          {"found", grid},        {"mean_by_length", means}, {"mean", mean(means)}};
}

void run_needle(const NeedleFlags& f) {
  std::vector<std::filesystem::path> models{f.model.model};
  if (!f.reference.empty()) models.emplace_back(f.reference);
  if (!f.svg.empty()) check_output_file("--svg", f.svg, models, is_needle_picture);
  const Tokenizer tokenizer = Tokenizer::load(f.model.model);
  const NeedleMaker maker(tokenizer, question_form(f.model.model),
                          f.text.empty() ? std::string(builtin_calibration_text()) : read_text_file(f.text));
  const auto cells = static_cast<std::int64_t>(f.lengths.size() * f.depths.size()) * f.samples;
  const std::int64_t total = cells * static_cast<std::int64_t>(models.size());
  Grid grid, expected;
  {
    Progress progress("eval needle");
    grid = measure(f, f.model, maker, progress, 0, total);
    if (!f.reference.empty()) {
      ModelFlags reference = f.model;
      reference.model = f.reference;
      reference.prefill = "float";
      expected = measure(f, reference, maker, progress, cells, total);
    }
  }
  if (!f.svg.empty()) write_file_atomically(f.svg, svg(f, grid));
  OrderedJson result = grid_json(f, grid);
  if (!f.reference.empty()) {
    result["reference"] = grid_json(f, expected);
    result["equal"] = grid == expected;
  }
  if (f.json) return print_result(to_json_line(result));
  print_grid(f, grid, "keys found, by depth of the key");
  if (!f.reference.empty()) print_grid(f, expected, "\nby the reference");
}

}  // namespace

void add_eval_needle(CLI::App& eval) {
  const auto flags = std::make_shared<NeedleFlags>();
  CLI::App* app =
      eval.add_subcommand("needle", "find a key in long contexts, over a grid of lengths and depths");
  add_model_flags(*app, flags->model);
  app->add_option("--reference", flags->reference, "float checkpoint that gets the same prompts")
      ->type_name("DIR");
  app->add_option("--lengths", flags->lengths, "tokens of a context, comma-separated")
      ->delimiter(',')
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--depths", flags->depths, "where the key stands, in percent, comma-separated")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app->add_option("--samples", flags->samples, "prompts of each cell")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--text", flags->text, "UTF-8 text that fills the context; default: the calibration text")
      ->type_name("FILE");
  app->add_option("--seed", flags->seed, "of words and places")->capture_default_str();
  app->add_option("--svg", flags->svg, "write the grid as a picture")->type_name("FILE");
  add_json_flag(*app, flags->json);
  app->footer(
      "The text states \" The key of WORD is WORD WORD.\" and the question asks for it; a key is found if "
      "each\n"
      "of its tokens is the likeliest one.\n\n"
      "Example:\n"
      "  latent8 eval needle --model models/tiny-w8a8 --reference models/tiny --lengths 1000,4000");
  app->callback([flags] { run_needle(*flags); });
}

}  // namespace latent8
