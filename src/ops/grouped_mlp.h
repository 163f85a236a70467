#pragma once
// The gated MLP of many experts at once: tokens are grouped by expert, every step runs over all experts in
// one parallel loop.

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/views.h"
#include "ops/context.h"
#include "ops/linear.h"

namespace latent8 {

// down(silu(gate(x)) * up(x))
struct GatedMlp {
  Linear gate_proj;  // [intermediate, hidden]
  Linear up_proj;    // [intermediate, hidden]
  Linear down_proj;  // [hidden, intermediate]
};

// Which experts every token goes to.
struct Routing {
  std::int64_t top_k = 0;
  std::vector<std::int32_t> expert;  // [T, top_k]
  std::vector<float> weight;         // [T, top_k]
};

// Buffers that grow to the largest step seen.
struct GroupedMlpScratch {
  Matrix<float> gate, up, out;         // [slots, intermediate], [slots, intermediate], [slots, hidden]
  Matrix<float> gathered;              // [slots, hidden], only for float experts
  std::vector<std::int32_t> begin;     // [experts + 1] first slot of each expert
  std::vector<std::int32_t> slot_of;   // [T * top_k] slot of token t's i-th expert
  std::vector<std::int32_t> token_of;  // [slots]
};

// out[t] = sum over i of routing.weight[t, i] * experts[routing.expert[t, i]](x[t]), added in order of i.
//   x [T, hidden], out [T, hidden]
void grouped_mlp(OpContext& ctx, std::span<const GatedMlp> experts, const Routing& routing, ConstMat<float> x,
                 GroupedMlpScratch& scratch, Mat<float> out);

// One expert for all rows: a dense MLP, or the shared experts. Leaves the input of down_proj in scratch.gate.
void gated_mlp(OpContext& ctx, const GatedMlp& mlp, ConstMat<float> x, GroupedMlpScratch& scratch,
               Mat<float> out);

}  // namespace latent8
