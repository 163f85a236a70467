#pragma once
// How the tensors of a plan become files.

#include <string>
#include <utility>
#include <vector>

#include "quant/output/shard_writer.h"
#include "quant/plan/plan.h"

namespace latent8 {

// Modules that may fall back are undecided; tensors of a float MTP layer have files of their own.
ShardLayout shard_layout(const CheckpointPlan& plan, const QuantizeOptions& options);

// All tensors as they are decided, in the order of the index and of the description.
std::vector<TensorToWrite> tensors_of(const CheckpointPlan& plan);
std::vector<std::pair<std::string, QuantType>> described_tensors(const CheckpointPlan& plan);

}  // namespace latent8
