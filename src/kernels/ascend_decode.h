#pragma once
// The reference's int8 decode operator with its roundings, to validate checkpoints that were made for it.
// Slow, dense, plain C++. Source: docs/numerics.md, "Ascend attention".

#include <cstdint>

namespace latent8 {

// The decode step of one sequence: its last `tokens` positions query all of its keys. Values of q_pe and k_pe
// are fp16 ones, widened.
struct AscendDecodeArgs {
  std::int64_t tokens, heads, rank, rope;
  std::int64_t context;  // keys of the sequence, >= tokens; token t sees the first context - (tokens - 1 - t)
  const std::int8_t* q;  // [tokens, heads, rank] q_nope absorbed, codes of the static scale
  const float* q_pe;     // [tokens, heads, rope]
  const std::int8_t* k;  // [context, rank] latent codes, also the values
  const float* k_pe;     // [context, rope]
  const float* qk_descale;  // [heads] q scale * k scale
  const float* pv_descale;  // [heads] k scale
  float softmax_scale;
  float* out;  // [tokens, heads, rank] fp16 values, widened
  float* lse;  // [tokens, heads] log of the sum of exp(S)
};

// Keys whose P shares one quantisation step: 128; 512 with 128 heads or more, or with more than one token.
constexpr std::int64_t ascend_tile_keys(std::int64_t heads, std::int64_t tokens) {
  return heads >= 128 || tokens > 1 ? 512 : 128;
}

void ascend_decode(const AscendDecodeArgs& args);

}  // namespace latent8
