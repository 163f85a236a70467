#include "quant/output_error.h"

#include <algorithm>
#include <cmath>

namespace latent8 {
namespace {

constexpr float kMaxCode = 127.0F;
constexpr std::int64_t kRows = 16;   // of a piece
constexpr std::int64_t kEvery = 8;   // pieces of which one is looked at
constexpr std::int64_t kBlock = 64;  // columns of one product

// Sums over tokens of squared outputs.
struct Energies {
  double weights = 0.0, nearest = 0.0, written = 0.0;
};

// tr(e H e^T) for rows e [m, in], with H = L D L^T - diag(added). product [m, kBlock] is clobbered.
double energy(const KernelTable& table, ConstMat<float> e, const HessianFactor& f, float* product) {
  const std::int64_t n = e.cols;
  double sum = 0.0;
  for (std::int64_t c0 = 0; c0 < n; c0 += kBlock) {
    const std::int64_t c1 = std::min(c0 + kBlock, n);
    std::fill_n(product, e.rows * kBlock, 0.0F);
    if (c1 < n)
      table.gemm_nn_f32({e.data + c1, f.l.row(c1) + c0, product, e.rows, c1 - c0, n - c1, e.row_stride,
                         f.l.row_stride, kBlock, WeightType::kF32, nullptr, 0, 0});
    for (std::int64_t r = 0; r < e.rows; ++r)
      for (std::int64_t c = c0; c < c1; ++c) {
        double y = double{product[r * kBlock + c - c0]};
        for (std::int64_t k = c; k < c1; ++k) y += double{e.row(r)[k]} * f.l.row(k)[c];
        sum += y * y * f.d[static_cast<std::size_t>(c)] -
               double{e.row(r)[c]} * e.row(r)[c] * f.added[static_cast<std::size_t>(c)];
      }
  }
  return std::max(sum, 0.0);
}

}  // namespace

void OutputErrors::add(OpContext& ctx, ConstMat<float> w, const QuantizedWeight& q,
                       const HessianFactor& factor) {
  const std::int64_t n = w.cols, pieces = (w.rows + kRows * kEvery - 1) / (kRows * kEvery);
  std::vector<Energies> partial(static_cast<std::size_t>(pieces));
  ctx.reserve_worker_scratch(kRows * (n + kBlock) * static_cast<std::int64_t>(sizeof(float)));
  ctx.pool().parallel_for(pieces, 1, [&](std::int64_t piece, std::int64_t, int worker) {
    const std::int64_t begin = piece * kRows * kEvery, rows = std::min(kRows, w.rows - begin);
    auto* values = static_cast<float*>(ctx.worker_scratch(worker));
    const Mat<float> e{values, rows, n};
    const auto energy_of = [&](const auto& value) {
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < n; ++c) e.row(r)[c] = value(begin + r, c);
      return energy(ctx.kernels(), e, factor, values + kRows * n);
    };
    const auto scale = [&](std::int64_t r) { return q.scale[static_cast<std::size_t>(r)]; };
    partial[static_cast<std::size_t>(piece)] = {
        energy_of([&](std::int64_t r, std::int64_t c) { return w.row(r)[c]; }),
        energy_of([&](std::int64_t r, std::int64_t c) {
          const float code = std::clamp(std::nearbyint(w.row(r)[c] / scale(r)), -kMaxCode, kMaxCode);
          return w.row(r)[c] - code * scale(r);
        }),
        energy_of([&](std::int64_t r, std::int64_t c) {
          return w.row(r)[c] - static_cast<float>(q.codes.row(r)[c]) * scale(r);
        })};
  });
  Energies sum;
  for (const Energies& p : partial) {
    sum.weights += p.weights;
    sum.nearest += p.nearest;
    sum.written += p.written;
  }
  if (sum.weights == 0.0) return;
  add({sum.nearest / sum.weights, sum.written / sum.weights, 1});
}

void OutputErrors::add(const OutputErrors& other) {
  nearest += other.nearest;
  written += other.written;
  linears += other.linears;
}

}  // namespace latent8
