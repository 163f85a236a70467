#pragma once
// The gated MLP of many experts at once: tokens are grouped by expert, every step runs over all experts in
// one parallel loop.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/views.h"
#include "ops/context.h"
#include "ops/linear.h"
#include "ops/routing.h"
#include "ops/work_matrix.h"

namespace latent8 {

// down(silu(gate(x)) * up(x)). The three may be stored in different forms, and those of one expert otherwise
// than those of another.
struct GatedMlp {
  Linear gate_proj;  // [intermediate, hidden]
  Linear up_proj;    // [intermediate, hidden]
  Linear down_proj;  // [hidden, intermediate]
};

// Buffers of one call; they keep the size of the largest. A slot is a token at one of its experts, slots of
// one expert lie together.
struct GroupedMlpScratch {
  WorkMatrix gate, up, out;            // [slots, intermediate], [slots, intermediate], [slots, hidden]
  WorkMatrix gathered;                 // [slots, hidden], only for float weights
  std::vector<std::int32_t> begin;     // [experts + 1] first slot of each expert
  std::vector<std::int32_t> slot_of;   // [T * top_k] slot of token t's i-th expert
  std::vector<std::int32_t> token_of;  // [slots]
  // Codes of each expert's inputs, not there for float weights; up's are gate's where both quantise alike.
  struct ExpertCodes {
    ActivationCodes gate, up, down;
  };
  std::vector<ExpertCodes> codes;  // [experts]
  // A part of one parallel loop: rows, or columns, [begin, end) of an expert's slots.
  struct Part {
    std::int32_t expert, begin, end;
  };
  std::vector<Part> row_parts, intermediate_parts, hidden_parts;
};

// out[t] = sum over i of routing.weight[t, i] * experts[routing.expert[t, i]](x[t]), added in order of i, and
// then shared[t] if there is one. All experts have the same shapes.
//   x [T, hidden], shared [T, hidden], out [T, hidden], which may not be x or shared
void grouped_mlp(OpContext& ctx, std::span<const GatedMlp> experts, const Routing& routing, ConstMat<float> x,
                 std::optional<ConstMat<float>> shared, GroupedMlpScratch& scratch, Mat<float> out);

// One expert for all rows: a dense MLP, or the shared experts. Leaves the input of down_proj in scratch.gate.
void gated_mlp(OpContext& ctx, const GatedMlp& mlp, ConstMat<float> x, GroupedMlpScratch& scratch,
               Mat<float> out);

}  // namespace latent8
