#pragma once
// --compat msmodelslim: the checkpoint that msModelSlim 26.1.0's example/DeepSeek/quant_deepseek_w8a8.py
// writes on a CPU, with its roundings, its statistics and its files. Source: docs/format.md.

#include <functional>
#include <optional>
#include <set>

#include "latent8/quantize.h"
#include "quant/compat/statistics.h"

namespace latent8::compat {

// What tests put in the place of what a run finds out itself.
struct Given {
  std::optional<std::set<std::int64_t>> float_layers;             // instead of reference_fallback(model)
  std::function<LayerStatistics(std::int64_t layer)> statistics;  // instead of a calibration
};

// Weights alone decide most tensors: these have the reference's bytes. Statistics come from a calibration in
// float32, where the reference's is in bf16: what depends on them differs by its noise.
// Goes on after an interruption as quantize() does. A cap of memory is kept or refused: activations are not
// put on the disk. options.fallback and rotate_latent are not read. Throws: as quantize();
// Error{kInvalidArgument} for a max_memory that is too small, saying how much is needed; Error{kUnsupported}
// for Mtp::kMix, whose values in the reference are not known, for float weights, and as make_plan().
QuantizeResult quantize_as_msmodelslim(const QuantizeOptions& options, const Given& given = {});

}  // namespace latent8::compat
