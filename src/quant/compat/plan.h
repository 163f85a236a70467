#pragma once
// Every tensor that the reference writes, in the order of its index: known before any value is.
// Source: docs/format.md, "Types of modules" to "Description", and "MTP layer".

#include <set>
#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/safetensors_writer.h"
#include "latent8/quantize.h"

namespace latent8::compat {

struct PlannedTensor {
  TensorToWrite tensor;
  QuantType type = QuantType::kFloat;
  bool described = true;  // false: the doubles of norms, which the description leaves out
};

struct Plan {
  DType type = DType::kBf16;            // of the model: kBf16 or kF16
  std::vector<PlannedTensor> tensors;   // without MTP
  std::vector<PlannedTensor> mtp;       // the MTP layer's tensors as they are, in files of their own
  std::set<std::int64_t> float_layers;  // layers without scales of the int8 cache
};

// Norms have a bias, which m4's smoothing adds.
bool has_norm_bias(const QuantizeOptions& options);
// Mindie's dialect writes every norm with a bias twice, as X.weight and X.module.weight.
bool doubles_norms(const QuantizeOptions& options);

// layers: decoder layers to write, the first ones.
// Throws: Error{kUnsupported} for a model that the reference's script is not made for, or whose bytes are not
// known: no q_lora_rank, or a type other than bf16 and fp16.
Plan make_plan(const Checkpoint& source, const QuantizeOptions& options, std::int64_t layers,
               std::set<std::int64_t> float_layers);

}  // namespace latent8::compat
