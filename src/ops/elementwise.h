#pragma once
// Threaded row-wise operations.

#include <cstdint>
#include <span>

#include "base/views.h"
#include "ops/context.h"

namespace latent8 {

struct Norm {
  std::span<const float> weight;  // [n]
  std::span<const float> bias;    // [n] or empty (msModelSlim's NormBias)
};

// out [m, n] = x / sqrt(mean(x^2) + eps) * weight + bias; out may be x
void rms_norm(OpContext& ctx, ConstMat<float> x, const Norm& norm, float eps, Mat<float> out);
// Rotates pairs of x [m, heads * head_stride] in place, in `dim` values from `first` of every head.
struct RopeTable {
  std::span<const float> cos;  // [max_position, dim / 2]
  std::span<const float> sin;
  std::int64_t dim = 0;
  bool halves = false;  // pairs (i, i + dim / 2) instead of (2i, 2i + 1)
};
void rope(OpContext& ctx, Mat<float> x, std::int64_t heads, std::int64_t head_stride, std::int64_t first,
          std::span<const std::int32_t> positions, const RopeTable& table);
// x += scale * y, then rms_norm of x into out, in one loop
void add_rms_norm(OpContext& ctx, Mat<float> x, ConstMat<float> y, float scale, const Norm& norm, float eps,
                  Mat<float> out);

// The same for the rows of one thread, for use inside parallel loops.
void norm_rows(const KernelTable& table, ConstMat<float> x, const Norm& norm, float eps, Mat<float> out);
void rope_rows(const KernelTable& table, Mat<float> x, std::int64_t heads, std::int64_t head_stride,
               std::int64_t first, std::span<const std::int32_t> positions, const RopeTable& rope);

// out = silu(gate) * up; out may be gate
void silu_mul(OpContext& ctx, ConstMat<float> gate, ConstMat<float> up, Mat<float> out);
// x += scale * y
void add_inplace(OpContext& ctx, Mat<float> x, ConstMat<float> y, float scale = 1.0F);
// x *= scale
void scale_inplace(OpContext& ctx, Mat<float> x, float scale);

}  // namespace latent8
