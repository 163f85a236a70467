#include <nlohmann/json.hpp>

#include "report/report.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

Json layer_json(const LayerReport& l) {
  Json candidates = Json::object(), smoothed = Json::object(), tensors = Json::object();
  for (const LayerReport::Candidate& c : l.candidates) candidates[c.name] = c.error;
  for (const LayerReport::Smoothed& s : l.smoothed)
    smoothed[s.source] = {{"alpha", s.alpha}, {"beta", s.beta}, {"error", s.error}};
  for (const auto& [type, bytes] : l.tensors) tensors[type] = bytes;
  return {{"layer", l.layer},
          {"mtp", l.mtp},
          {"fa", l.fa},
          {"fold", l.fold},
          {"candidates", std::move(candidates)},
          {"smoothed", std::move(smoothed)},
          {"latent_amax", l.latent_amax},
          {"latent_rms", l.latent_rms},
          {"stored_amax", l.stored_amax},
          {"stored_rms", l.stored_rms},
          {"k_scale", l.k_scale},
          {"clipped", l.clipped},
          {"error_before", l.error_before},
          {"error_after", l.error_after},
          {"output_error_before", l.output_error_before},
          {"output_error_after", l.output_error_after},
          {"tensors", std::move(tensors)},
          {"bytes_in", l.bytes_in},
          {"bytes_out", l.bytes_out},
          {"seconds", l.seconds}};
}

}  // namespace

Json to_json(const QuantizeResult& r) {
  Json layers = Json::array();
  for (const LayerReport& layer : r.per_layer) layers.push_back(layer_json(layer));
  return {{"layers", r.layers},     {"fa_layers", r.fa_layers},
          {"mtp", r.mtp},           {"resumed_layers", r.resumed_layers},
          {"prompts", r.prompts},   {"tokens", r.tokens},
          {"bytes_in", r.bytes_in}, {"bytes_out", r.bytes_out},
          {"tensors", r.tensors},   {"peak_memory", r.peak_memory},
          {"seconds", r.seconds},   {"per_layer", std::move(layers)},
          {"copied", r.copied},     {"warnings", r.warnings}};
}

}  // namespace latent8
