#pragma once
// How much work a step is: bytes from memory and multiply-adds per operator, and the least time a machine
// needs.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "benchmark/machine_limits.h"
#include "kernels/latent_layout.h"
#include "model/weights.h"

namespace latent8 {

struct OperatorCost {
  std::string name;
  double bytes = 0;  // weights or cache read once
  double int8_macs = 0;
  double fp32_macs = 0;
};

// Sum over operators of max(bytes / DRAM, MACs / peak of their type), in seconds.
double least_seconds(std::span<const OperatorCost> operators, const MachineLimits& limits);

// A step of the model: sequences of `tokens` query tokens each, after `depth` cached ones; logits for one row
// per sequence. Routed experts: the expected number of different ones that T tokens choose.
//   cache  the form of every layer's; nullopt: as each layer has it
std::vector<OperatorCost> step_cost(const ModelWeights& weights, std::int64_t sequences, std::int64_t tokens,
                                    std::int64_t depth, std::optional<CacheType> cache = {});
// Attention over the latent alone, one layer.
OperatorCost attention_cost(const ModelConfig& config, bool int8_cache, std::int64_t sequences,
                            std::int64_t tokens, std::int64_t depth);
OperatorCost linear_cost(const Linear& w, std::int64_t rows);

}  // namespace latent8
