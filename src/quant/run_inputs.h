#pragma once
// What decides a result's bytes.

#include <string>
#include <utility>
#include <vector>

#include "quant/calibration.h"
#include "quant/plan.h"
#include "quant/source_reader.h"

namespace latent8 {

// Name and value of everything that another run must have in common to go on with an unfinished result, for
// Manifest::inputs. Threads and memory are not among them.
std::vector<std::pair<std::string, std::string>> run_inputs(const QuantizeOptions& options,
                                                            const SourceReader& source,
                                                            const CheckpointPlan& plan,
                                                            const std::vector<CalibrationPrompt>& prompts);

}  // namespace latent8
