#include "model/step.h"

#include <algorithm>

#include "base/memory_use.h"

namespace latent8 {

void StepBatch::add(std::span<const std::int32_t> ids, std::int64_t position,
                    std::span<const std::int32_t> block_table, std::int64_t block_size, bool prompt) {
  const std::int64_t begin = tokens(), count = static_cast<std::int64_t>(ids.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = position + i;
    token_ids.push_back(ids[static_cast<std::size_t>(i)]);
    positions.push_back(static_cast<std::int32_t>(at));
    const std::int32_t block = block_table[static_cast<std::size_t>(at / block_size)];
    slot_mapping.push_back(static_cast<std::int32_t>(block * block_size + at % block_size));
  }
  StepSeq seq;
  seq.query_begin = begin;
  seq.query_end = begin + count;
  seq.seq_len = position + count;
  seq.block_table = block_table;
  seq.prompt = prompt;
  seqs.push_back(seq);
}

void StepBatch::clear() {
  token_ids.clear();
  positions.clear();
  slot_mapping.clear();
  seqs.clear();
}

Scratch::Scratch(const ModelConfig& c, std::int64_t tokens)
    : max_tokens(tokens),
      x(tokens, c.hidden_size),
      h(tokens, c.hidden_size),
      delta(tokens, c.hidden_size),
      kv(tokens, c.kv_lora_rank + c.qk_rope_head_dim),
      c_q(tokens, c.q_lora_rank.value_or(0)),
      q(tokens, c.num_attention_heads * c.qk_head_dim()),
      q_absorbed(tokens, c.num_attention_heads * c.kv_lora_rank),
      q_pe(tokens * c.num_attention_heads, c.qk_rope_head_dim),
      q8(tokens * c.num_attention_heads, c.kv_lora_rank),
      qk_scale(tokens * c.num_attention_heads),
      o_latent(tokens, c.num_attention_heads * c.kv_lora_rank),
      o(tokens, c.num_attention_heads * c.v_head_dim),
      gate(tokens, c.n_routed_experts),
      shared(tokens, c.n_shared_experts > 0 ? c.hidden_size : 0),
      eh(c.num_nextn_predict_layers > 0 ? tokens : 0, 2 * c.hidden_size),
      clipped_per_layer(static_cast<std::size_t>(c.num_hidden_layers + 1)) {}

std::int64_t Scratch::bytes(const ModelConfig& c, std::int64_t tokens) {
  const std::int64_t heads = c.num_attention_heads;
  const bool mtp = c.num_nextn_predict_layers > 0, shared = c.n_shared_experts > 0;
  std::int64_t bytes = aligned_size(tokens * heads * c.kv_lora_rank);  // q8
  for (const std::int64_t cols :
       {c.hidden_size, c.hidden_size, c.hidden_size, c.kv_lora_rank + c.qk_rope_head_dim,
        c.q_lora_rank.value_or(0), heads * c.qk_head_dim(), heads * c.kv_lora_rank,
        heads * c.qk_rope_head_dim, heads, heads * c.kv_lora_rank, heads * c.v_head_dim, c.n_routed_experts,
        shared ? c.hidden_size : 0, mtp ? 2 * c.hidden_size : 0})
    bytes += aligned_size(tokens * cols * 4);
  return bytes;
}

}  // namespace latent8
