#pragma once
// What enters the MTP layer while it is calibrated.

#include "quant/layer/layer_pipeline.h"

namespace latent8 {

// The residual stream that enters the MTP layer's decoder, from the one that leaves the last decoder layer.
ActivationStore mtp_stream(const PipelineContext& context, CalibrationRun& run, const ActivationStore& x);

}  // namespace latent8
