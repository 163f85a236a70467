#include "quant/compat/memory.h"

#include <algorithm>

#include "base/error.h"
#include "quant/plan/memory_plan.h"
#include "sys/topology.h"

namespace latent8::compat {
namespace {

constexpr std::int64_t kFloat = sizeof(float);

struct Tokens {
  std::int64_t all = 0, largest_call = 0, longest = 0;
};

Tokens tokens_of(const std::vector<TokenBatch>& anti, const std::vector<TokenBatch>& calib) {
  Tokens out;
  for (const auto* batches : {&anti, &calib})
    for (const TokenBatch& batch : *batches) {
      out.all += batch.tokens();
      out.largest_call = std::max(out.largest_call, batch.tokens());
      out.longest = std::max(out.longest, batch.length);
    }
  return out;
}

std::int64_t total(const std::vector<TokenBatch>& batches) { return tokens_of(batches, {}).all; }

}  // namespace

std::int64_t memory_needed(const Checkpoint& source, const QuantizeOptions& options,
                           const std::vector<TokenBatch>& anti, const std::vector<TokenBatch>& calib,
                           int threads) {
  const ModelConfig& c = source.config();
  const Tokens tokens = tokens_of(anti, calib);
  const std::int64_t heads = c.num_attention_heads, q_rank = c.q_lora_rank.value_or(0), rank = c.kv_lora_rank,
                     q_cols = heads * c.qk_head_dim(), o_cols = heads * c.v_head_dim;
  const std::int64_t q_b = q_cols * q_rank, kv_b = heads * (c.qk_nope_head_dim + c.v_head_dim) * rank,
                     o = c.hidden_size * o_cols;
  const std::int64_t inputs = (q_rank + rank + c.qk_rope_head_dim) * c.hidden_size;  // q_a_proj, kv_a_proj
  const std::int64_t attention = inputs + q_b + kv_b + o;
  const std::int64_t widest = std::max({q_b, kv_b, o});
  const std::int64_t intermediate =
      std::max(c.intermediate_size, std::max<std::int64_t>(1, c.n_shared_experts) * c.moe_intermediate_size);

  // Weights, their fake-quantised twins, and the codes of one.
  std::int64_t attention_half = kFloat * attention * (calib.empty() ? 1 : 2) + 2 * widest;
  std::int64_t mlp_half = 3 * kFloat * intermediate * c.hidden_size + 2 * intermediate * c.hidden_size +
                          kFloat * c.n_routed_experts * c.hidden_size;
  // Rows of a call, one thread's keys and values of a head, and its rows of the absorbed query.
  attention_half += kFloat * tokens.largest_call * (2 * c.hidden_size + q_rank + q_cols + 2 * rank + o_cols) +
                    threads * kFloat *
                        (tokens.longest * (c.qk_head_dim() + c.v_head_dim + 64) + tokens.largest_call * rank);
  mlp_half += kFloat * tokens.largest_call * (2 * c.hidden_size + 2 * intermediate + c.n_routed_experts);
  // m6 searches with copies of all inputs of a group, its weights and its outputs.
  if (options.anti == QuantizeOptions::Anti::kM6) {
    const std::int64_t t = total(anti);
    const std::int64_t kept = t * (c.hidden_size + q_rank + o_cols);
    const std::int64_t copies = 2 * t * std::max(c.hidden_size, o_cols) + 3 * std::max(widest, inputs) +
                                4 * t * std::max(q_cols, c.hidden_size);
    attention_half += kFloat * (kept + copies);
  }
  const std::int64_t streams = 3 * kFloat * tokens.all * c.hidden_size;  // x, the MLP's input and output
  return streams + std::max(attention_half, mlp_half) + memory_slack(threads);
}

void check_memory(const QuantizeOptions& options, std::int64_t needed) {
  const std::int64_t least = resident_bytes() + needed;
  if (options.max_memory > 0 && least > options.max_memory)
    throw_error(ErrorCode::kInvalidArgument,
                "memory: at least {} MiB expected by the msmodelslim mode, which keeps one layer's attention "
                "and the activations of all prompts in memory, got {} MiB; raise the cap (latent8 quantize "
                "--max-memory) or give fewer or shorter prompts",
                (least >> 20) + 1, options.max_memory >> 20);
}

}  // namespace latent8::compat
