#include "report/option_text.h"

#include <fmt/format.h>

namespace latent8 {
namespace {

using Options = QuantizeOptions;

std::string yes_no(bool value) { return value ? "yes" : "no"; }

std::string text_of(Options::Anti anti) {
  return anti == Options::Anti::kM4 ? "m4" : anti == Options::Anti::kM6 ? "m6" : "none";
}
std::string text_of(Options::Mtp mtp) {
  return mtp == Options::Mtp::kMix ? "mix" : mtp == Options::Mtp::kFloat ? "float" : "none";
}
std::string text_of(Options::Fallback fallback) {
  return fallback == Options::Fallback::kAuto        ? "auto"
         : fallback == Options::Fallback::kReference ? "reference"
                                                     : "none";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> option_texts(const Options& o) {
  return {
      {"weights", o.weights == Options::Weights::kFloat ? "float" : "w8a8"},
      {"int8 cache (fa-quant)", yes_no(o.fa_quant)},
      {"inputs of attention linears", o.dynamic ? "per token (dynamic)" : "static"},
      {"smoothing (anti)", text_of(o.anti)},
      {"rotations of the model (rot)", yes_no(o.rotate_model)},
      {"rotations of the latent", yes_no(o.rotate_latent)},
      {"float layers (fallback)", text_of(o.fallback)},
      {"MTP layer", text_of(o.mtp)},
      {"format", o.format == Options::Format::kAscendV1 ? "ascendv1" : "mindie"},
      {"compat", o.compat == Options::Compat::kMsmodelslim ? "msmodelslim" : "none"},
      {"calibration text", o.calib.empty() ? "built in" : o.calib.string()},
      {"smoothing text", o.anti_calib.empty() ? "the same" : o.anti_calib.string()},
      {"decoder layers", o.layer_count > 0 ? fmt::format("the first {}", o.layer_count) : "all"},
  };
}

}  // namespace latent8
