#pragma once
// One forward step: the tokens of several sequences in one ragged batch, and the buffers it works in.

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "formats/model_config.h"
#include "latent8/numerics.h"
#include "ops/grouped_mlp.h"
#include "ops/mla_attend.h"

namespace latent8 {

// One sequence of a step: AttendSeq, and whether its tokens are prompt tokens (read by kAscend and
// Prefill::kFloat only).
struct StepSeq : AttendSeq {
  bool prompt = false;
};

// A ragged batch of T tokens: decodes and chunks of prompts mixed, one sequence after the other.
struct StepBatch {
  std::vector<std::int32_t> token_ids;     // [T]
  std::vector<std::int32_t> positions;     // [T] in its sequence
  std::vector<std::int32_t> slot_mapping;  // [T] where the token's latent is written
  std::vector<StepSeq> seqs;

  std::int64_t tokens() const { return static_cast<std::int64_t>(token_ids.size()); }
  // Appends `ids` of one sequence, the first at `position`. block_table and ids are read until the step has
  // run.
  void add(std::span<const std::int32_t> ids, std::int64_t position,
           std::span<const std::int32_t> block_table, std::int64_t block_size, bool prompt);
  void clear();
};

// Buffers of one step of at most max_tokens tokens; every field is named after the tensor it holds. Contents
// stay until the next layer overwrites them: tests and the quantiser's observers read them after a layer has
// run.
struct Scratch {
  Scratch(const ModelConfig& config, std::int64_t max_tokens);
  // Bytes that the matrices take; routing, mlp and attend grow with what operations ask them for.
  static std::int64_t bytes(const ModelConfig& config, std::int64_t max_tokens);

  std::int64_t max_tokens;
  Matrix<float> x;                // [T, hidden_size] residual stream
  Matrix<float> h;                // [T, hidden_size] normalised input of attention or MLP
  Matrix<float> delta;            // [T, hidden_size] output of attention or MLP
  Matrix<float> kv;               // [T, kv_lora_rank + qk_rope_head_dim]; c_kv | k_pe
  Matrix<float> c_q;              // [T, q_lora_rank]
  Matrix<float> q;                // [T, heads * qk_head_dim]; q_nope | q_pe per head
  Matrix<float> q_absorbed;       // [T, heads * kv_lora_rank]
  Matrix<float> q_pe;             // [T * heads, qk_rope_head_dim] times the softmax scale
  Matrix<std::int8_t> q8;         // [T * heads, kv_lora_rank]
  AlignedBuffer<float> qk_scale;  // [T * heads]
  Matrix<float> o_latent;         // [T, heads * kv_lora_rank]
  Matrix<float> o;                // [T, heads * v_head_dim]
  Matrix<float> gate;             // [T, n_routed_experts] logits, then scores
  Matrix<float> shared;           // [T, hidden_size] output of the shared experts
  Matrix<float> eh;               // [T, 2 * hidden_size] input of the MTP layer's eh_proj
  Routing routing;
  GroupedMlpScratch mlp;
  AttendScratch attend;
  std::int64_t clipped_codes = 0;               // latent codes beyond [-128, 127] of the layer that ran last
  std::vector<std::int64_t> clipped_per_layer;  // [num_hidden_layers + 1] summed; the MTP layer last
};

}  // namespace latent8
