#pragma once
// The routed experts of a layer that runs over the calibration prompts.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quant/calibrate/layer_activations.h"
#include "quant/layer/module_stream.h"

namespace latent8 {

// Quantises the experts, and adds their outputs to `next`.
//   modules  all of the layer's Part::kExpert
void run_experts(const PipelineContext& context, CalibrationRun& run, std::int64_t layer,
                 std::span<const PlannedModule* const> modules, MlpActivations& input, ActivationStore& next);

// Says how many of `count` experts no token chose, if any: in the warning about them, which all layers share.
void add_idle_experts(std::int64_t layer, const Routing& routing, std::int64_t count,
                      std::vector<std::string>& warnings);

}  // namespace latent8
