#include "quant/hessian.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace latent8 {
namespace {

constexpr std::int64_t kBlock = 128;

std::int64_t blocks(std::int64_t n) { return (n + kBlock - 1) / kBlock; }

// body(i, j) for all blocks with j <= i of the lower triangle of blocks [first, count).
template <class Body>
void for_lower_blocks(ThreadPool& pool, std::int64_t first, std::int64_t count, const Body& body) {
  const std::int64_t n = count - first;
  pool.parallel_for(n * (n + 1) / 2, 1, [&](std::int64_t index, std::int64_t, int worker) {
    auto i = static_cast<std::int64_t>((std::sqrt(8.0 * static_cast<double>(index) + 1.0) - 1.0) / 2.0);
    while (i * (i + 1) / 2 > index) --i;
    while ((i + 1) * (i + 2) / 2 <= index) ++i;
    body(first + i, first + index - i * (i + 1) / 2, worker);
  });
}

// c[m, n] += sign * a [m, k] b [n, k]^T, m and n at most kBlock.
void add_product(const KernelTable& table, ConstMat<float> a, ConstMat<float> b, float sign, float* product,
                 Mat<float> c) {
  table.gemm_f32({a.data, b.data, product, a.rows, b.rows, a.cols, a.row_stride, b.row_stride, kBlock,
                  WeightType::kF32, nullptr, 0, 0});
  for (std::int64_t r = 0; r < a.rows; ++r)
    for (std::int64_t n = 0; n < b.rows; ++n) c.row(r)[n] += sign * product[r * kBlock + n];
}

// The Cholesky factor of one block on the diagonal, in place, in float64.
void factor_block(Mat<float> a) {
  Matrix<double> l(a.rows, a.rows);
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (std::int64_t j = 0; j <= i; ++j) {
      double sum = double{a.row(i)[j]};
      for (std::int64_t k = 0; k < j; ++k) sum -= l.row(i)[k] * l.row(j)[k];
      // Damping keeps the pivots above 0; rounding may still touch those of nearly dependent channels.
      l.row(i)[j] = i == j ? std::sqrt(std::max(sum, 1e-30)) : sum / l.row(j)[j];
    }
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (std::int64_t j = 0; j <= i; ++j) a.row(i)[j] = static_cast<float>(l.row(i)[j]);
}

// row L^T = row of A, for a row below the diagonal block L.
void solve_row(ConstMat<float> l, float* row) {
  for (std::int64_t j = 0; j < l.rows; ++j) {
    double sum = double{row[j]};
    for (std::int64_t k = 0; k < j; ++k) sum -= double{row[k]} * l.row(j)[k];
    row[j] = static_cast<float>(sum / l.row(j)[j]);
  }
}

Mat<float> block_at(Matrix<float>& h, std::int64_t i, std::int64_t j) {
  const std::int64_t n = h.rows();
  return h.view()
      .row_range(i * kBlock, std::min((i + 1) * kBlock, n))
      .col_range(j * kBlock, std::min((j + 1) * kBlock, n));
}

}  // namespace

void Hessian::add(OpContext& ctx, ConstMat<float> x, std::span<const std::uint8_t> counts) {
  LATENT8_CHECK_EQ(x.cols, channels());
  std::vector<std::int64_t> rows;
  for (std::int64_t t = 0; t < x.rows; ++t)
    if (counts[static_cast<std::size_t>(t)] != 0) rows.push_back(t);
  if (rows.empty()) return;
  const auto count = static_cast<std::int64_t>(rows.size());
  Matrix<float> xt(channels(), count);  // [channels, rows that count]
  ctx.pool().parallel_for(channels(), kBlock, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = 0; r < count; ++r)
      for (std::int64_t c = begin; c < end; ++c) xt.row(c)[r] = x.row(rows[static_cast<std::size_t>(r)])[c];
  });
  ctx.reserve_worker_scratch(kBlock * kBlock * static_cast<std::int64_t>(sizeof(float)));
  for_lower_blocks(ctx.pool(), 0, blocks(channels()), [&](std::int64_t i, std::int64_t j, int worker) {
    const Mat<float> c = block_at(h_, i, j);
    add_product(ctx.kernels(), xt.view().row_range(i * kBlock, i * kBlock + c.rows),
                xt.view().row_range(j * kBlock, j * kBlock + c.cols), 1.0F,
                static_cast<float*>(ctx.worker_scratch(worker)), c);
  });
  rows_ += count;
}

HessianFactor Hessian::factor(OpContext& ctx, double damping) {
  LATENT8_CHECK(rows_ > 0 && damping > 0.0);
  const std::int64_t n = channels(), n_blocks = blocks(n);
  double mean = 0.0;
  for (std::int64_t c = 0; c < n; ++c) mean += diagonal(c) / static_cast<double>(n);
  for (std::int64_t c = 0; c < n; ++c) {
    float& pivot = h_.row(c)[c];
    added_.push_back(pivot == 0.0F ? 1.0F : static_cast<float>(damping * mean));
    pivot += added_.back();
  }
  ctx.reserve_worker_scratch(kBlock * kBlock * static_cast<std::int64_t>(sizeof(float)));
  for (std::int64_t k = 0; k < n_blocks; ++k) {
    const Mat<float> diagonal_block = block_at(h_, k, k);
    factor_block(diagonal_block);
    const std::int64_t below = (k + 1) * kBlock;
    if (below >= n) break;
    ctx.pool().parallel_for(n - below, 16, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) solve_row(diagonal_block, h_.row(below + r) + k * kBlock);
    });
    for_lower_blocks(ctx.pool(), k + 1, n_blocks, [&](std::int64_t i, std::int64_t j, int worker) {
      add_product(ctx.kernels(), block_at(h_, i, k), block_at(h_, j, k), -1.0F,
                  static_cast<float*>(ctx.worker_scratch(worker)), block_at(h_, i, j));
    });
  }
  std::vector<float> pivots(static_cast<std::size_t>(n));
  for (std::int64_t c = 0; c < n; ++c) {
    pivots[static_cast<std::size_t>(c)] = h_.row(c)[c];
    d_.push_back(double{h_.row(c)[c]} * h_.row(c)[c]);
  }
  ctx.pool().parallel_for(n, kBlock, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* row = h_.row(r);
      for (std::int64_t c = 0; c < r; ++c) row[c] /= pivots[static_cast<std::size_t>(c)];
      row[r] = 1.0F;
    }
  });
  return {h_.view(), d_, added_};
}

}  // namespace latent8
