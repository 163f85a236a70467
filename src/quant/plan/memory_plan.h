#pragma once
// How a run keeps to its cap of resident memory.

#include <cstdint>

#include "quant/plan/plan.h"
#include "source/tensor_source.h"

namespace latent8 {

// Bytes for allocations that no plan counts, and for what the allocator keeps.
std::int64_t memory_slack(int threads);

struct MemoryPlan {
  std::int64_t step_tokens = 0;  // of a calibration step
  std::int64_t budget = 0;  // bytes for what may lie in memory or on the disk: activations, groups of experts
};

struct MemoryNeeds {
  std::int64_t cap = 0;             // bytes; 0: a quarter of the machine's
  std::int64_t longest_prompt = 0;  // tokens; 0: nothing is calibrated
  int threads = 1;
  QuantizeOptions::Anti anti = QuantizeOptions::Anti::kNone;
};

// Starts from what is resident now. Throws: Error{kInvalidArgument} saying how much is needed if the cap has
// no room for the largest layer's attention and the longest prompt.
MemoryPlan plan_memory(const TensorSource& source, const CheckpointPlan& plan, const MemoryNeeds& needs);

}  // namespace latent8
