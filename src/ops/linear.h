#pragma once
// Linear layers out = x W^T (+ bias), in every form a checkpoint stores W.

#include <cstdint>

#include <span>

#include "base/views.h"
#include "kernels/activation_codes.h"
#include "kernels/weight_type.h"
#include "ops/context.h"

namespace latent8 {

// A view of one weight as it lies in the checkpoint, with its scales widened to fp32.
// Ownership: of nothing; the model's weights keep what the pointers show.
struct Linear {
  enum class Kind : std::uint8_t {
    kFloat,        // f32, bf16, f16, or fp8 with block scales: widened, fp32 accumulation
    kW8A8Static,   // one input scale and offset per tensor; y = (xq W^T + quant_bias) * deq_scale
    kW8A8Dynamic,  // one input scale per token; y = (xq W^T) * (x scale * weight scale) + bias
  };
  Kind kind = Kind::kFloat;
  std::int64_t out_features = 0, in_features = 0;
  const void* weight = nullptr;        // [out_features, in_features]
  WeightType type = WeightType::kF32;  // kFloat
  const float* block_scale = nullptr;  // fp8: [ceil(rows / 128), block_scale_stride]
  std::int64_t block_scale_stride = 0;
  std::int64_t block_row0 = 0;   // fp8: row of the whole tensor at which `weight` starts
  const float* scale = nullptr;  // W8A8: [out_features] deq_scale (static) or weight_scale (dynamic)
  const std::int32_t* quant_bias = nullptr;  // static: [out_features]
  float input_scale = 1.0F;                  // static
  float input_offset = 0.0F;                 // static
  const float* bias = nullptr;  // [out_features] or nullptr; not for static, where quant_bias has it

  std::int64_t weight_bytes() const;
};

// True if both quantise the same x to the same codes.
bool same_input(const Linear& a, const Linear& b);

// x of one or several linears in the form their kernels read: floats, or codes where the weight is int8.
struct LinearInput {
  ConstMat<float> x;      // [m, in_features]; need not be there for int8 weights
  ActivationCodes codes;  // [m, in_features]; need not be there for float weights
};

// Memory of m rows of codes for w in `buffer`, in the form that its kernels read. REQUIRES: an int8 weight.
ActivationCodes reserve_codes(const KernelTable& table, const Linear& w, std::int64_t m, CodeBuffer& buffer);
// Rows of a piece of a loop whose threads quantise rows of one ActivationCodes.
std::int64_t quantize_grain(const KernelTable& table);

// Rows of x into rows first_row ... of the codes; nothing for a float weight. Single-threaded, for callers
// that gather rows inside their own parallel loop; see quantize_grain().
void quantize_rows(const KernelTable& table, const Linear& w, ConstMat<float> x, const ActivationCodes& to,
                   std::int64_t first_row);

// Quantises x for w into `buffer` (nothing to do for float weights); threaded over the rows.
LinearInput prepare_input(OpContext& ctx, const Linear& w, ConstMat<float> x, CodeBuffer& buffer);

// out[:, n0:n1] of the rows [m0, m1); single-threaded, for use inside parallel loops. `out` has the input's
// rows and is addressed with absolute row and column; m0 is a multiple of KernelTable::code_rows.
// worker_scratch: linear_scratch_bytes of at least m1 - m0 and n1 - n0.
void linear_block(const KernelTable& table, const Linear& w, const LinearInput& in, std::int64_t m0,
                  std::int64_t m1, std::int64_t n0, std::int64_t n1, Mat<float> out, void* worker_scratch);
std::int64_t linear_scratch_bytes(const KernelTable& table, const Linear& w, std::int64_t m, std::int64_t n);

// out [m, out_features] = in W^T + bias for an input of m rows that is prepared already.
void linear_prepared(OpContext& ctx, const Linear& w, const LinearInput& in, std::int64_t m, Mat<float> out);
// out [m, out_features] = x [m, in_features] W^T + bias
void linear(OpContext& ctx, const Linear& w, ConstMat<float> x, Mat<float> out);
// Several linears of one x in one parallel loop; x is quantised once where same_input() allows.
void linear_pair(OpContext& ctx, const Linear& w1, const Linear& w2, ConstMat<float> x, Mat<float> out1,
                 Mat<float> out2);

// out [T, hidden] = rows ids[t] of an embedding table [vocab, hidden], kFloat but not fp8, widened.
void embed_rows(OpContext& ctx, const Linear& table, std::span<const std::int32_t> ids, Mat<float> out);

// Per-head weights inside kv_b_proj: head h's rows start at row0 + h * row_stride of the tensor.
struct HeadWeights {
  std::int64_t heads = 0, rows = 0,
               cols = 0;  // w_uk: rows = qk_nope_head_dim; w_uv: rows = v_head_dim; cols = rank
  std::int64_t row0 = 0, row_stride = 0;
  Linear tensor;  // the whole kv_b_proj, kFloat
};

// Both products per head are cut over rows and columns too where there are few heads for the threads; no bit
// of them depends on it. out[t, h, :] = x[t, h, :] W_h, x [t, heads * x_head] with `rows` leading values used
// per head, out [t, heads * cols].
void per_head_linear_transposed(OpContext& ctx, const HeadWeights& w, ConstMat<float> x, std::int64_t x_head,
                                Mat<float> out);
// out[t, h, :] = W_h x[t, h, :], x [t, heads * cols], out [t, heads * rows].
void per_head_linear(OpContext& ctx, const HeadWeights& w, ConstMat<float> x, Mat<float> out);
// out[:, n0:n1] of x [t, rows] W_h for one head, out [t, cols]; n0 a multiple of 128; single-threaded.
void head_linear_transposed(const KernelTable& table, const HeadWeights& w, std::int64_t head,
                            std::int64_t n0, std::int64_t n1, ConstMat<float> x, Mat<float> out);
// out [t, rows] = x [t, cols] W_h^T for one head: the expanded form of the latent; single-threaded.
void head_linear(const KernelTable& table, const HeadWeights& w, std::int64_t head, ConstMat<float> x,
                 Mat<float> out);

}  // namespace latent8
