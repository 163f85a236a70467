// latent8 quantize: a float checkpoint to W8A8 weights and an int8 latent cache.

#include "latent8/quantize.h"

#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/files.h"
#include "apps/json_lines.h"
#include "apps/quantize_output.h"
#include "apps/subcommands.h"
#include "report/report.h"

namespace latent8 {
namespace {

using Options = QuantizeOptions;

struct QuantizeFlags {
  Options options;
  std::string report;  // file
  bool no_resume = false, no_rotation = false, json = false;
};

void run(QuantizeFlags flags) {
  flags.options.resume = !flags.no_resume;
  flags.options.rotate_latent = !flags.no_rotation;
  if (!flags.report.empty()) check_report_file(flags.report, flags.options);
  const QuantizeResult result = quantize_with_progress(flags.options);
  if (!flags.report.empty()) write_report(flags.report, flags.options, result);
  if (!flags.json) return print_result(quantize_summary(flags.options, result));
  nlohmann::ordered_json json = {{"out", flags.options.out.string()}};
  json.update(to_json(result));
  print_result(to_json_line(json));
}

// A flag whose values are names of an enum's.
template <class Enum>
void add_choice(CLI::App& app, const char* name, Enum& value, const std::map<std::string, Enum>& names,
                const char* help) {
  const auto chosen =
      std::find_if(names.begin(), names.end(), [&](const auto& e) { return e.second == value; });
  app.add_option(name, value, help)
      ->transform(CLI::CheckedTransformer(names, CLI::ignore_case).description([&] {
        std::string text;
        for (const auto& [key, unused] : names) text += (text.empty() ? "{" : ",") + key;
        return text + "}";
      }()))
      ->default_str(chosen->first);
}

void add_recipe_flags(CLI::App& app, Options& o) {
  app.add_flag("--fa-quant", o.fa_quant, "write the scales of the int8 latent cache");
  add_choice<Options::Format>(
      app, "--format", o.format,
      {{"mindie", Options::Format::kMindie}, {"ascendv1", Options::Format::kAscendV1}},
      "dialect of names and description");
  app.add_flag("--dynamic", o.dynamic, "attention linears too quantise their input per token");
  add_choice<Options::Weights>(app, "--weights", o.weights,
                               {{"w8a8", Options::Weights::kW8A8}, {"float", Options::Weights::kFloat}},
                               "w8a8, or float: weights stay float, for the int8 cache alone");
  add_choice<Options::Mtp>(
      app, "--mtp", o.mtp,
      {{"mix", Options::Mtp::kMix}, {"float", Options::Mtp::kFloat}, {"none", Options::Mtp::kNone}},
      "the MTP layer: quantise it, keep its tensors as they are, or leave it out");
  add_choice<Options::Anti>(
      app, "--anti", o.anti,
      {{"m4", Options::Anti::kM4}, {"m6", Options::Anti::kM6}, {"none", Options::Anti::kNone}},
      "smooth inputs of attention linears where that lowers their error: m4 the hidden state, m6 also those "
      "of q_b_proj and o_proj; with --compat msmodelslim the reference's methods");
  app.add_flag(
      "--rot", o.rotate_model,
      "rotate the hidden state, q_a_proj's output and the heads' values offline, as msModelSlim does; "
      "reading becomes slower");
  add_choice<Options::Fallback>(
      app, "--fallback", o.fallback,
      {{"none", Options::Fallback::kNone},
       {"reference", Options::Fallback::kReference},
       {"auto", Options::Fallback::kAuto}},
      "layers whose cache stays float: none, msModelSlim's lists, as few as keep the "
      "error bound");
  add_choice<Options::Compat>(
      app, "--compat", o.compat,
      {{"none", Options::Compat::kNone}, {"msmodelslim", Options::Compat::kMsmodelslim}},
      "msmodelslim: the reference's bytes, flaws included");
}

void add_calibration_flags(CLI::App& app, Options& o) {
  app.add_option("--calib", o.calib, "JSON list of calibration texts; default: built-in prompts")
      ->type_name("FILE");
  app.add_option("--anti-calib", o.anti_calib, "the same for smoothing (--anti); default: those of --calib")
      ->type_name("FILE");
  app.add_option("--batch-size", o.batch_size, "prompts per call; changes --compat msmodelslim only")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
}

void add_run_flags(CLI::App& app, QuantizeFlags& flags) {
  Options& o = flags.options;
  app.add_option("--layers", o.layer_count, "write the first N decoder layers only; 0 means all")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_option(
         "--max-memory", o.max_memory,
         "most resident memory, as 64GiB; default: a quarter of the machine's. --compat msmodelslim puts "
         "nothing on the disk: it refuses what is too little, and has no default")
      ->transform(size_in_bytes());
  app.add_option("--shard-size", o.shard_bytes, "largest size of a weight file")
      ->transform(size_in_bytes())
      ->default_str("4GiB");
  app.add_flag("--overwrite", o.overwrite, "replace a quantised checkpoint at --out");
  app.add_flag("--no-resume", flags.no_resume, "start anew instead of continuing an interrupted run");
  app.add_option("--threads", o.threads, "threads; 0 means one per physical core")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_flag("--ignore-unread-tensors", o.ignore_unread_tensors,
               "quantise a model with tensors that are not known: they are left out");
  app.add_flag("--no-rotation", flags.no_rotation, "choose no rotations of the latent");
  app.add_option("--report", flags.report, "write an HTML page of what was measured and decided")
      ->type_name("FILE");
  add_json_flag(app, flags.json);
}

}  // namespace

void add_quantize(CLI::App& root) {
  const auto flags = std::make_shared<QuantizeFlags>();
  CLI::App* app = root.add_subcommand("quantize", "make a W8A8 + FA3 checkpoint of a float one");
  app->add_option("--model", flags->options.model, "float checkpoint directory")
      ->required()
      ->type_name("DIR");
  app->add_option("--out", flags->options.out, "directory to make")->required()->type_name("DIR");
  add_recipe_flags(*app, flags->options);
  add_calibration_flags(*app, flags->options);
  add_run_flags(*app, *flags);
  app->footer(
      "An interrupted run goes on where it stopped when it is started again.\n"
      "Examples:\n"
      "  latent8 quantize --model models/tiny --out build/tiny-w8a8-fa3 --fa-quant\n"
      "  latent8 quantize --model models/tiny --out build/tiny-fa3 --fa-quant --weights float");
  app->callback([flags] { run(*flags); });
}

}  // namespace latent8
