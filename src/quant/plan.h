#pragma once
// What a quantised checkpoint will consist of: every tensor with its type and shape, known before any value
// is. Source: facts/format.md 1.1, 1.2, 2; facts/msmodelslim_bytes.md B5, C1 to C4, E1.

#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/safetensors_writer.h"
#include "latent8/quantize.h"

namespace latent8 {

struct PlannedTensor {
  TensorToWrite tensor;
  QuantType type = QuantType::kFloat;
};

// Tensors that are made together.
struct PlannedModule {
  enum class Kind {
    kFloat,   // one tensor of the source, converted to tensors[0].tensor.dtype
    kStored,  // one tensor of the source, byte for byte
    kStatic,  // weight, [bias], weight_scale, weight_offset, input_scale, input_offset, quant_bias, deq_scale
    kDynamic,  // weight, [bias], weight_scale, weight_offset
    kFaScales  // fa_{q,k,v}.scale, fa_{q,k,v}.offset
  };
  Kind kind = Kind::kFloat;
  std::string name;                    // of the source's tensor, or of the linear without ".weight"
  std::vector<PlannedTensor> tensors;  // in the order of the description
};

struct CheckpointPlan {
  DType dtype = DType::kBf16;  // of scales, and of float tensors that are converted
  std::vector<PlannedModule> embedding;
  std::vector<std::vector<PlannedModule>> layers;
  std::vector<PlannedModule> head;  // norm, lm_head
  std::vector<PlannedModule> mtp;   // files of their own; empty if the MTP layer is not written

  // Whether any layer needs its inputs observed.
  bool needs_calibration() const;
};

// The element type of the source's model: torch_dtype, or kBf16 for fp8 sources.
DType model_dtype(const Checkpoint& source);

// Throws: Error{kNotFound} for tensors that the config promises and the source lacks, {kUnsupported} for
// types that hold no floats.
CheckpointPlan plan_checkpoint(const Checkpoint& source, const QuantizeOptions& options);

}  // namespace latent8
