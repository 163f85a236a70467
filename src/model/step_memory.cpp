#include "model/step_memory.h"

#include <algorithm>

#include "base/memory_use.h"
#include "kernels/attend_args.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

// Buffers of operations that grow with what they are asked for may take twice as much at a time.
constexpr std::int64_t kGrowth = 2;

std::int64_t floats(std::int64_t rows, std::int64_t cols) { return aligned_size(rows * cols * 4); }

// The MLPs: gate and up of whichever form has most, the experts' inputs and outputs, their slots.
std::int64_t mlp_bytes(const ModelConfig& c, std::int64_t tokens) {
  const std::int64_t slots = tokens * c.num_experts_per_tok;
  const std::int64_t shared = c.n_shared_experts * c.moe_intermediate_size;
  const std::int64_t wide =
      std::max(tokens * std::max(c.intermediate_size, shared), slots * c.moe_intermediate_size);
  return kGrowth * (2 * floats(1, wide) + 2 * floats(slots, c.hidden_size) + 16 * slots);
}

// Codes of the inputs of int8 linears, two inputs at a time; each expert's begin with whole code_rows.
std::int64_t code_bytes(const ModelConfig& c, std::int64_t tokens) {
  const KernelTable& table = kernels();
  const std::int64_t slots = tokens * c.num_experts_per_tok;
  const std::int64_t expert_rows = slots + table.code_rows * std::min(slots, c.n_routed_experts);
  const std::int64_t widest =
      std::max({c.hidden_size, c.intermediate_size, c.q_lora_rank.value_or(0),
                c.n_shared_experts * c.moe_intermediate_size, c.num_attention_heads * c.v_head_dim});
  const std::int64_t codes =
      std::max(table.code_bytes(tokens + table.code_rows, widest),
               table.code_bytes(expert_rows, std::max(c.hidden_size, c.moe_intermediate_size)));
  return kGrowth * 2 * aligned_size(codes + expert_rows * static_cast<std::int64_t>(sizeof(float)));
}

// What every thread has for one kernel at a time.
std::int64_t worker_bytes(const ModelConfig& c, int threads) {
  const KernelTable& table = kernels();
  const std::int64_t attend = table.attend_scratch_bytes(c.kv_lora_rank, c.qk_rope_head_dim) + 8 * kRunKeys;
  const std::int64_t widest =
      std::max({c.hidden_size, c.intermediate_size, c.num_attention_heads * c.v_head_dim});
  return threads * aligned_size(std::max(
                       attend, table.gemm_s8_scratch_bytes(table.gemm_rows, table.gemm_cols, widest)));
}

// Partial results of attention, see mla_attend(): two for each thread, or where there are fewer than 4 blocks
// of rows for each thread, one for every run of keys of each block.
std::int64_t partial_bytes(const ModelConfig& c, std::int64_t tokens, int threads, std::int64_t max_seq_len) {
  constexpr std::int64_t kFewestRows = 16;  // of a block, where they are cut to occupy threads
  const std::int64_t one = kernels().attend_rows * (c.kv_lora_rank + 2) * 4;
  const std::int64_t blocks = tokens * ((c.num_attention_heads + kFewestRows - 1) / kFewestRows);
  const std::int64_t runs = (max_seq_len + kRunKeys - 1) / kRunKeys;
  return threads * aligned_size(2 * one) +
         aligned_size(std::min<std::int64_t>(4 * threads, blocks) * runs * one);
}

// The expanded form of prompts, see expanded_attend(): latents of the sequence, keys, values and scores of a
// head for each thread.
std::int64_t expanded_bytes(const ModelConfig& c, int threads, std::int64_t max_seq_len) {
  constexpr std::int64_t kQueryRows = 64;
  return floats(max_seq_len, c.kv_lora_rank) + floats(max_seq_len, c.qk_rope_head_dim) +
         threads * (floats(max_seq_len, c.qk_head_dim()) + floats(max_seq_len, c.v_head_dim) +
                    floats(kQueryRows, max_seq_len));
}

}  // namespace

std::int64_t step_buffer_bytes(const DeepseekModel& model, const StepRunnerOptions& o, int threads,
                               std::int64_t max_seq_len) {
  const ModelConfig& c = model.config();
  const bool expands = o.attention.prefill == Prefill::kFloat || o.attention.numerics == Numerics::kAscend;
  return Scratch::bytes(c, o.max_tokens) + StepRunner::buffer_bytes(model, o) + mlp_bytes(c, o.max_tokens) +
         code_bytes(c, o.max_tokens) + worker_bytes(c, threads) +
         partial_bytes(c, o.max_tokens, threads, max_seq_len) +
         (expands ? expanded_bytes(c, threads, max_seq_len) : 0);
}

}  // namespace latent8
