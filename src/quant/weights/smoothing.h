#pragma once
// Smoothing: powers of two per channel that move from what makes an input into the linears that read it, so
// that the int8 codes of both lose less. The function stays the same to the bit but for the order of sums.
// Source: docs/format.md, "The reference's smoothing"; here nothing is shifted, and what is moved is chosen
// by the error of the outputs.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "latent8/quantize.h"
#include "ops/context.h"
#include "quant/calibrate/layer_activations.h"
#include "quant/plan/plan.h"
#include "quant/weights/working_layer.h"

namespace latent8 {

// Tokens, and rows of one linear, that candidates are compared on, evenly spaced among all.
inline constexpr std::int64_t kSmoothingTokens = 1024, kSmoothingRows = 1024;

struct Smoothing {
  std::vector<float> scale;  // [channels] by which the input is divided; empty: nothing gains
  double alpha = 0.0, beta = 0.0;
  double error = 1.0;  // what is left of the squared error of the outputs
};

// How an input and its linears are quantised.
struct SmoothingTarget {
  bool dynamic = false;  // the input per token; else one range for all tokens
  DType dtype = DType::kBf16;
};

// Tries scale = A^alpha / B^beta for alpha and beta in {0, 1/4, 1/2, 3/4, 1}, rounded to powers of two, where
// A is the rms of a channel of x and B that of a column of w, both relative to their geometric means. Takes
// none unless it lowers the error of the outputs by five per cent.
//   x  [tokens, channels] the input, of tokens that count
//   w  [rows, channels] of the linears that read it
Smoothing choose_smoothing(OpContext& ctx, ConstMat<float> x, ConstMat<float> w,
                           const SmoothingTarget& target);

// Smooths the inputs of one layer's attention: input_layernorm to q_a_proj (or q_proj) and
// kv_a_proj_with_mqa; kM6 also q_a_layernorm to q_b_proj, and the V rows of kv_b_proj to o_proj. Puts the
// weights into `working` and the inputs into `activations`. Channels whose norm would not stay exact in
// target.dtype are left out. Returns what was done.
//   attention  modules of the layer's attention; those that are not int8 are left alone
std::vector<LayerReport::Smoothed> smooth_attention(WorkingLayer& working, std::int64_t layer,
                                                    std::span<const PlannedModule* const> attention,
                                                    QuantizeOptions::Anti anti, const SmoothingTarget& target,
                                                    AttentionActivations& activations);

// Bytes of memory that choose_smoothing() and its input need in smooth_attention().
//   rows  of all linears that read the input
std::int64_t smoothing_bytes(std::int64_t rows, std::int64_t channels);

}  // namespace latent8
