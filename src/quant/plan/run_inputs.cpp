#include "quant/plan/run_inputs.h"

#include <array>
#include <filesystem>
#include <string_view>

#include "base/error.h"
#include "base/fingerprint.h"
#include "formats/files.h"
#include "kernels/kernel_table.h"
#include "latent8/version.h"
#include "quant/calibrate/calibration.h"

namespace latent8 {
namespace {

template <class Enum, std::size_t N>
std::string name_of(Enum value, const std::array<std::string_view, N>& names) {
  return std::string(names[static_cast<std::size_t>(value)]);
}

std::string yes_or_no(bool value) { return value ? "yes" : "no"; }

std::string source_text(const SourceReader& source) {
  Fingerprint small_files;
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}) {
    const std::filesystem::path path = source.checkpoint().dir() / name;
    if (std::filesystem::exists(path)) small_files.add(read_text_file(path));
  }
  return fmt::format("files {:016x}, config and tokenizer {:016x}", source.fingerprint(),
                     small_files.value());
}

std::string prompts_text(const std::filesystem::path& file) {
  const std::vector<std::string> prompts = read_prompts(file);
  Fingerprint texts;
  for (const std::string& prompt : prompts) texts.add(prompt);
  return fmt::format("{} prompts {:016x}", prompts.size(), texts.value());
}

}  // namespace

std::vector<std::pair<std::string, std::string>> run_inputs(const QuantizeOptions& o,
                                                            const SourceReader& source,
                                                            const RunDecisions& decisions) {
  const bool compat = o.compat != QuantizeOptions::Compat::kNone;
  return {{"latent8", std::string(kVersion)},
          {"source", source_text(source)},
          {"calibration", decisions.calibrated ? prompts_text(o.calib) : "none"},
          {"smoothing prompts", o.anti_calib.empty() ? "those of calibration" : prompts_text(o.anti_calib)},
          {"prompts per call", compat ? std::to_string(o.batch_size) : "any"},
          {"kernels (LATENT8_ISA)", kernels().name},
          {"int8 cache", yes_or_no(o.fa_quant)},
          {"format", name_of(o.format, std::array<std::string_view, 2>{"mindie", "ascendv1"})},
          {"compat", name_of(o.compat, std::array<std::string_view, 2>{"none", "msmodelslim"})},
          {"dynamic", yes_or_no(o.dynamic)},
          {"weights", name_of(o.weights, std::array<std::string_view, 2>{"w8a8", "float"})},
          {"anti", name_of(o.anti, std::array<std::string_view, 3>{"none", "m4", "m6"})},
          {"rotations of the model", yes_or_no(o.rotate_model)},
          {"rotations of the latent", yes_or_no(o.rotate_latent)},
          {"mtp", name_of(o.mtp, std::array<std::string_view, 3>{"none", "float", "mix"})},
          {"fallback", name_of(o.fallback, std::array<std::string_view, 3>{"none", "reference", "auto"})},
          {"float cache", fmt::format("layers [{}]", fmt::join(decisions.float_cache, ", "))},
          {"layers", std::to_string(decisions.layers)},
          {"shard bytes", std::to_string(o.shard_bytes)}};
}

}  // namespace latent8
