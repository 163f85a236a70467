#pragma once
// Attention over whole padded batches in float32, with a look at the inputs of its linears.

#include <functional>

#include "model/rope_table.h"
#include "ops/context.h"
#include "ops/linear.h"
#include "quant/compat/layer_tensors.h"
#include "quant/compat/statistics.h"
#include "quant/compat/token_batches.h"

namespace latent8::compat {

// The view of a weight that ops/ read.
Linear view_of(const Matrix<float>& weight, const std::vector<float>& bias = {});

// Ownership: refers to its arguments, which must outlive it.
class AttentionForward {
 public:
  AttentionForward(const ModelConfig& config, OpContext& ctx);

  // May change the input of a group's linears.
  using AtInput = std::function<void(Group group, Mat<float> input)>;
  //   x [tokens, hidden_size] the residual stream, updated in place; input_layernorm comes first
  // A pad sees all keys alike and no token sees a pad, as the reference's mask has it.
  void run(const AttentionTensors& w, const TokenBatch& batch, const AtInput& at_input, Mat<float> x);

  // Windows of the absorbed query and the latent of the batch that ran last. Query rows are those of the
  // reference's view [heads, -1] of [sequences, heads, length, rank]: batch and head mixed unless there is
  // one sequence. Source: docs/format.md, "The reference's windows".
  FaRanges fa_ranges(DType type, const AttentionTensors& w, const TokenBatch& batch);

 private:
  void attend(const AttentionTensors& w, const TokenBatch& batch, std::int64_t sequence);
  HeadWeights w_uk(const AttentionTensors& w) const;
  HeadWeights w_uv(const AttentionTensors& w) const;

  const ModelConfig& config_;
  OpContext& ctx_;
  RopeFrequencies rope_;
  Matrix<float> h_, c_q_, q_, kv_, o_, delta_;  // of the batch that ran last
};

}  // namespace latent8::compat
