#include "quant/calibrate/output_error.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "quant/calibrate/triangular_product.h"
#include "quant/weights/rounding.h"

namespace latent8 {
namespace {

constexpr std::int64_t kRows = 16;  // of a piece
constexpr std::int64_t kEvery = 8;  // pieces of which one is looked at

// What is compared: the weights, what rounding to nearest changes in them, and what was written changes.
constexpr std::int64_t kKinds = 3;
using Energies = std::array<double, kKinds>;

// Row r of e L, and from it (e L) D (e L)^T - e diag(added) e^T = e H e^T.
//   y  [n] e times the rows of L below each column's block
double energy(std::span<const float> e, const HessianFactor& f, std::span<float> y) {
  double sum = 0.0;
  for (std::size_t c = 0; c < e.size(); ++c) {
    const std::size_t c1 = std::min((c / kTriangleBlock + 1) * kTriangleBlock, e.size());
    double value = double{y[c]};
    for (std::size_t k = c; k < c1; ++k)
      value += double{e[k]} * f.l.row(static_cast<std::int64_t>(k))[static_cast<std::int64_t>(c)];
    sum += value * value * f.d[c] - double{e[c]} * e[c] * f.added[c];
  }
  return std::max(sum, 0.0);
}

}  // namespace

void OutputErrors::add(OpContext& ctx, ConstMat<float> w, const QuantizedWeight& q,
                       const HessianFactor& factor) {
  const std::int64_t n = w.cols, pieces = (w.rows + kRows * kEvery - 1) / (kRows * kEvery);
  std::vector<Energies> partial(static_cast<std::size_t>(pieces));
  constexpr std::int64_t kAll = kKinds * kRows;
  ctx.reserve_worker_scratch((2 * kAll * n + triangular_scratch(kAll)) *
                             static_cast<std::int64_t>(sizeof(float)));
  ctx.pool().parallel_for(pieces, 1, [&](std::int64_t piece, std::int64_t, int worker) {
    const std::int64_t begin = piece * kRows * kEvery, rows = std::min(kRows, w.rows - begin);
    auto* scratch = static_cast<float*>(ctx.worker_scratch(worker));
    const Mat<float> e(scratch, kKinds * rows, n), y(scratch + kAll * n, kKinds * rows, n);
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* values = w.row(begin + r);
      const std::int8_t* codes = q.codes.row(begin + r);
      const float scale = q.scale[static_cast<std::size_t>(begin + r)];
      for (std::int64_t c = 0; c < n; ++c) {
        const float nearest = std::clamp(std::nearbyint(values[c] / scale), -kMaxCode, kMaxCode);
        e.row(kKinds * r)[c] = values[c];
        e.row(kKinds * r + 1)[c] = values[c] - nearest * scale;
        e.row(kKinds * r + 2)[c] = values[c] - static_cast<float>(codes[c]) * scale;
      }
    }
    std::fill_n(y.data, y.rows * n, 0.0F);
    for (std::int64_t c0 = 0; c0 < n; c0 += kTriangleBlock)
      add_triangular_product(ctx.kernels(), e, factor.l, c0, std::min(c0 + kTriangleBlock, n),
                             scratch + 2 * kAll * n, y);
    for (std::int64_t r = 0; r < e.rows; ++r)
      partial[static_cast<std::size_t>(piece)][static_cast<std::size_t>(r % kKinds)] +=
          energy(e.row_span(r), factor, y.row_span(r));
  });
  Energies sum{};
  for (const Energies& p : partial)
    for (std::size_t kind = 0; kind < p.size(); ++kind) sum[kind] += p[kind];
  if (sum[0] == 0.0) return;
  add({sum[1] / sum[0], sum[2] / sum[0], 1});
}

void OutputErrors::add(const OutputErrors& other) {
  nearest += other.nearest;
  written += other.written;
  linears += other.linears;
}

}  // namespace latent8
