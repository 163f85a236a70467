// quant_deepseek_w8a8: the reference tool's command, flag by flag. Source: msModelSlim's
// example/DeepSeek/quant_deepseek_w8a8.py.

#include <algorithm>

#include "apps/quantize_output.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "base/log.h"
#include "formats/checkpoint.h"

namespace latent8 {
namespace {

using Options = QuantizeOptions;

struct ReferenceFlags {
  std::string model_path, save_path, anti_dataset, calib_dataset, quant_mtp = "none", anti_method = "m4";
  std::string compat = "none", trust_remote_code = "False";
  std::int64_t layer_count = 0;
  int batch_size = 4;
  bool from_fp8 = false, from_bf16 = false, fa_quant = false, mindie_format = false, dynamic = false;
  bool disable_anti = false, rot = false, ignore_unread_tensors = false;
};

bool is_fp8(const Checkpoint& source) {
  return std::any_of(source.tensors().begin(), source.tensors().end(),
                     [](const auto& entry) { return entry.second.dtype == DType::kF8E4M3; });
}

void check(const ReferenceFlags& flags) {
  if (flags.from_fp8 && flags.from_bf16)
    throw_error(ErrorCode::kInvalidArgument, "--from_fp8 and --from_bf16: one of them expected, got both");
  const Checkpoint source = Checkpoint::open(flags.model_path);
  if ((flags.from_fp8 && !is_fp8(source)) || (flags.from_bf16 && is_fp8(source)))
    throw_error(ErrorCode::kInvalidArgument,
                "--from_{}: '{}' has {} weights; leave the flag out, it is detected",
                flags.from_fp8 ? "fp8" : "bf16", flags.model_path, is_fp8(source) ? "fp8" : "no fp8");
  const std::int64_t layers = source.config().num_hidden_layers;
  if (flags.layer_count < 0 || flags.layer_count > layers)
    throw_error(ErrorCode::kInvalidArgument, "--layer_count: 0 to {} expected, got {}", layers,
                flags.layer_count);
}

Options to_options(const ReferenceFlags& flags) {
  Options o;
  o.model = flags.model_path;
  o.out = flags.save_path;
  o.fa_quant = flags.fa_quant;
  o.format = flags.mindie_format ? Options::Format::kMindie : Options::Format::kAscendV1;
  o.compat = flags.compat == "msmodelslim" ? Options::Compat::kMsmodelslim : Options::Compat::kNone;
  o.dynamic = flags.dynamic;
  if (flags.disable_anti)
    o.anti = Options::Anti::kNone;
  else
    o.anti = flags.anti_method == "m6" ? Options::Anti::kM6 : Options::Anti::kM4;
  if (flags.quant_mtp == "mix")
    o.mtp = Options::Mtp::kMix;
  else
    o.mtp = flags.quant_mtp == "float" ? Options::Mtp::kFloat : Options::Mtp::kNone;
  o.fallback = o.compat == Options::Compat::kNone ? Options::Fallback::kAuto : Options::Fallback::kReference;
  o.rotate_model = flags.rot;
  o.calib = flags.calib_dataset;
  o.anti_calib = flags.anti_dataset;
  o.batch_size = flags.batch_size;
  o.layer_count = flags.layer_count;
  o.ignore_unread_tensors = flags.ignore_unread_tensors;
  return o;
}

void run(const ReferenceFlags& flags) {
  check(flags);
  if (flags.trust_remote_code != "False")
    log_info("--trust_remote_code has no effect: latent8 runs no code of a checkpoint");
  const Options options = to_options(flags);
  print_result(quantize_summary(options, quantize_with_progress(options)));
}

}  // namespace

void add_quant_deepseek_w8a8(CLI::App& root) {
  const auto flags = std::make_shared<ReferenceFlags>();
  CLI::App* app = root.add_subcommand("quant_deepseek_w8a8", "quantize, with the reference tool's flags");
  app->add_option("--model_path", flags->model_path, "float checkpoint directory")
      ->required()
      ->type_name("DIR");
  app->add_option("--save_path", flags->save_path, "directory to make")->required()->type_name("DIR");
  app->add_option("--layer_count", flags->layer_count, "write the first N decoder layers only; 0 means all")
      ->capture_default_str();
  app->add_option("--anti_dataset", flags->anti_dataset,
                  "JSON list of texts for smoothing; default: those of --calib_dataset")
      ->type_name("FILE");
  app->add_option("--calib_dataset", flags->calib_dataset, "JSON list of calibration texts")
      ->type_name("FILE");
  app->add_option("--batch_size", flags->batch_size, "prompts per call")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  app->add_flag("--from_fp8", flags->from_fp8, "the source has fp8 weights (detected)");
  app->add_flag("--from_bf16", flags->from_bf16, "the source has bf16 weights (detected)");
  app->add_flag("--fa_quant", flags->fa_quant, "write the scales of the int8 latent cache");
  app->add_flag("--mindie_format", flags->mindie_format,
                "names and description as MindIE before 2.1.RC1 reads them");
  app->add_flag("--dynamic", flags->dynamic, "attention linears too quantise their input per token");
  app->add_flag("--disable_anti", flags->disable_anti, "no smoothing");
  app->add_option("--quant_mtp", flags->quant_mtp, "the MTP layer: quantise it, keep it, or leave it out")
      ->check(CLI::IsMember({"mix", "float", "none"}))
      ->capture_default_str();
  app->add_option("--anti_method", flags->anti_method,
                  "smoothing of attention inputs: m4 the hidden state, m6 also those of q_b_proj and o_proj")
      ->check(CLI::IsMember({"m4", "m6"}))
      ->capture_default_str();
  app->add_flag("--rot", flags->rot,
                "rotate the hidden state, q_a_proj's output and the heads' values offline");
  app->add_flag("--ignore-unread-tensors", flags->ignore_unread_tensors,
                "quantise a model with tensors that are not known: they are left out");
  app->add_option("--trust_remote_code", flags->trust_remote_code,
                  "no effect: no code of a checkpoint is run")
      ->expected(0, 1)
      ->default_str("False");
  app->add_option("--compat", flags->compat, "msmodelslim: the reference's bytes, flaws included")
      ->check(CLI::IsMember({"none", "msmodelslim"}))
      ->capture_default_str();
  app->footer(
      "Examples:\n"
      "  latent8 quant_deepseek_w8a8 --model_path models/tiny --save_path build/tiny-w8a8 --batch_size 4 \\\n"
      "      --fa_quant --mindie_format\n"
      "  quant_deepseek_w8a8 --help   # the same command under its own name");
  app->callback([flags] { run(*flags); });
}

}  // namespace latent8
