#pragma once
// Products with the lower triangle L of a factor that is too large for any cache.

#include "base/views.h"

namespace latent8 {

struct KernelTable;

// Channels of e that one pass over the rows of L takes up.
inline constexpr std::int64_t kTriangleBlock = 64;
// Floats of scratch that add_triangular_product() needs for m rows.
constexpr std::int64_t triangular_scratch(std::int64_t m) { return m * kTriangleBlock; }

// y[:, 0..c0) += e[:, c0..c1) L[c0..c1, 0..c0): what channels [c0, c1) of e contribute to those before them.
// Called block by block it reads L once, row after row, for all rows of e.
//   e, y     [m, n], rows as far apart as they like
//   scratch  [triangular_scratch(m)]
// Every value of y gets one sum per call, its terms in ascending order, whatever m is.
void add_triangular_product(const KernelTable& table, ConstMat<float> e, ConstMat<float> l, std::int64_t c0,
                            std::int64_t c1, float* scratch, Mat<float> y);

}  // namespace latent8
