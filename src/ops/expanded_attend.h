#pragma once
// Attention in the expanded form: the latent becomes keys and values per head. Float, not in the serving path
// of `native`: it is the reference for the absorbed form, the calibration's attention, and prefill of
// `ascend`.

#include <cstdint>

#include "base/views.h"
#include "ops/context.h"
#include "ops/linear.h"

namespace latent8 {

struct ExpandedAttend {
  const HeadWeights* w_uk = nullptr;
  const HeadWeights* w_uv = nullptr;
  std::int64_t qk_head_dim = 0;  // nope + rope, the stride of heads in q
  float softmax_scale = 1.0F;
};

// One sequence.
//   q     [T, heads * qk_head_dim]  nope | rope after RoPE
//   c_kv  [S, rank]                 after kv_a_layernorm; row s is position s
//   k_pe  [S, rope]                 after RoPE
//   out   [T, heads * v_head_dim]   query row t is position S - T + t and sees keys [0, position]
void expanded_attend(OpContext& ctx, const ExpandedAttend& attend, ConstMat<float> q, ConstMat<float> c_kv,
                     ConstMat<float> k_pe, Mat<float> out);

}  // namespace latent8
