// latent8 quantize: a float checkpoint to W8A8 weights and an int8 latent cache.

#include "latent8/quantize.h"

#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"

namespace latent8 {
namespace {

struct QuantizeFlags {
  std::string model, out, calib, format = "mindie", weights = "w8a8", mtp = "float";
  bool fa_quant = false, dynamic = false, overwrite = false, json = false;
  int threads = 0;
};

QuantizeOptions to_options(const QuantizeFlags& flags, Progress& progress) {
  QuantizeOptions options;
  options.model = flags.model;
  options.out = flags.out;
  options.overwrite = flags.overwrite;
  options.fa_quant = flags.fa_quant;
  options.format =
      flags.format == "ascendv1" ? QuantizeOptions::Format::kAscendV1 : QuantizeOptions::Format::kMindie;
  options.dynamic = flags.dynamic;
  options.weights =
      flags.weights == "float" ? QuantizeOptions::Weights::kFloat : QuantizeOptions::Weights::kW8A8;
  options.mtp = flags.mtp == "none" ? QuantizeOptions::Mtp::kNone : QuantizeOptions::Mtp::kFloat;
  options.calib = flags.calib;
  options.threads = flags.threads;
  options.progress = [&progress](const QuantizeProgress& p) {
    progress.update(p.bytes, p.total_bytes,
                    fmt::format("layer {} of {}, {} of {}", p.layer, p.n_layers, format_bytes(p.bytes),
                                format_bytes(p.total_bytes)));
  };
  return options;
}

nlohmann::ordered_json to_json(const QuantizeFlags& flags, const QuantizeResult& r) {
  return {{"out", flags.out},       {"layers", r.layers},       {"fa_layers", r.fa_layers},
          {"mtp", r.mtp},           {"prompts", r.prompts},     {"tokens", r.tokens},
          {"bytes_in", r.bytes_in}, {"bytes_out", r.bytes_out}, {"tensors", r.tensors},
          {"seconds", r.seconds}};
}

void run(const QuantizeFlags& flags) {
  QuantizeResult result;
  {
    Progress progress("quantize");
    result = quantize(to_options(flags, progress));
  }
  if (flags.json) return print_result(to_json_line(to_json(flags, result)));
  print_result(
      fmt::format("{}: {} layers, {} with an int8 cache{}; {} tensors, {} from {}; calibrated on {} prompts, "
                  "{} tokens; {:.1f} s\n",
                  flags.out, result.layers, result.fa_layers, result.mtp ? ", MTP" : "", result.tensors,
                  format_bytes(result.bytes_out), format_bytes(result.bytes_in), result.prompts,
                  result.tokens, result.seconds));
}

}  // namespace

void add_quantize(CLI::App& root) {
  const auto flags = std::make_shared<QuantizeFlags>();
  CLI::App* app = root.add_subcommand("quantize", "make a W8A8 + FA3 checkpoint of a float one");
  app->add_option("--model", flags->model, "float checkpoint directory")->required();
  app->add_option("--out", flags->out, "directory to make")->required();
  app->add_flag("--fa-quant", flags->fa_quant, "write the scales of the int8 latent cache");
  app->add_option("--format", flags->format, "dialect of names and description")
      ->check(CLI::IsMember({"mindie", "ascendv1"}))
      ->capture_default_str();
  app->add_flag("--dynamic", flags->dynamic, "attention linears too quantise their input per token");
  app->add_option("--weights", flags->weights, "w8a8, or float: keep weights, write FA scales only")
      ->check(CLI::IsMember({"w8a8", "float"}))
      ->capture_default_str();
  app->add_option("--mtp", flags->mtp, "the MTP layer: keep its tensors as they are, or leave it out")
      ->check(CLI::IsMember({"float", "none"}))
      ->capture_default_str();
  app->add_option("--calib", flags->calib, "JSON list of calibration texts; default: built-in prompts");
  app->add_flag("--overwrite", flags->overwrite, "replace a quantised checkpoint at --out");
  app->add_option("--threads", flags->threads, "threads; 0 means one per physical core")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  add_json_flag(*app, flags->json);
  app->footer(
      "Examples:\n"
      "  latent8 quantize --model models/tiny --out build/tiny-w8a8-fa3 --fa-quant\n"
      "  latent8 quantize --model models/tiny --out build/tiny-fa3 --fa-quant --weights float");
  app->callback([flags] { run(*flags); });
}

}  // namespace latent8
