#include "quant/calibrate/hessian.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/gemm_args.h"
#include "kernels/kernel_table.h"

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

// Floats of a product of two blocks.
constexpr std::int64_t kProduct = kBlock * kBlock;

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

constexpr std::int64_t kSolved = 16;  // rows at a time

// X L^T = A for rows A below the diagonal block L, in place; X^T too.
//   a  [m, L's channels], m at most kSolved
//   t  [L's channels, m]
void solve_rows(ConstMat<float> l, Mat<float> a, Mat<float> t) {
  double x[kBlock][kSolved] = {};
  for (std::int64_t j = 0; j < l.rows; ++j) {
    for (std::int64_t r = 0; r < a.rows; ++r) x[j][r] = double{a.row(r)[j]};
    for (std::int64_t k = 0; k < j; ++k) {
      const double factor = double{l.row(j)[k]};
      for (std::int64_t r = 0; r < kSolved; ++r) x[j][r] -= x[k][r] * factor;
    }
    for (std::int64_t r = 0; r < kSolved; ++r) x[j][r] = static_cast<float>(x[j][r] / l.row(j)[j]);
    for (std::int64_t r = 0; r < a.rows; ++r) a.row(r)[j] = t.row(j)[r] = static_cast<float>(x[j][r]);
  }
}

Mat<float> block_at(Matrix<float>& h, std::int64_t i, std::int64_t j) {
  const std::int64_t n = h.rows();
  return h.view()
      .row_range(i * kBlock, std::min((i + 1) * kBlock, n))
      .col_range(j * kBlock, std::min((j + 1) * kBlock, n));
}

}  // namespace

std::int64_t Hessian::bytes(std::int64_t channels) {
  return ((channels + kBlock) * (channels + kRowPadding) + channels * kPending) *
         static_cast<std::int64_t>(sizeof(float));
}

void Hessian::add(OpContext& ctx, ConstMat<float> x, std::span<const std::uint8_t> counts) {
  LATENT8_CHECK_EQ(x.cols, channels());
  std::vector<std::int64_t> rows;
  for (std::int64_t t = 0; t < x.rows; ++t)
    if (counts[static_cast<std::size_t>(t)] != 0) rows.push_back(t);
  const auto count = static_cast<std::int64_t>(rows.size());
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t taken = std::min(count - done, kPending - pending_rows_);
    ctx.pool().parallel_for(channels(), kBlock, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = 0; r < taken; ++r) {
        const float* row = x.row(rows[static_cast<std::size_t>(done + r)]);
        for (std::int64_t c = begin; c < end; ++c) pending_.row(c)[pending_rows_ + r] = row[c];
      }
    });
    done += taken;
    pending_rows_ += taken;
    if (pending_rows_ == kPending) add_pending(ctx);
  }
  rows_ += count;
}

void Hessian::add_pending(OpContext& ctx) {
  ctx.reserve_worker_scratch(kProduct * static_cast<std::int64_t>(sizeof(float)));
  for_lower_blocks(ctx.pool(), 0, blocks(channels()), [&](std::int64_t i, std::int64_t j, int worker) {
    const Mat<float> c = block_at(h_, i, j);
    auto* product = static_cast<float*>(ctx.worker_scratch(worker));
    ctx.kernels().gemm_f32({pending_.row(i * kBlock), pending_.row(j * kBlock), product, c.rows, c.cols,
                            pending_rows_, kPending, kPending, kBlock, WeightType::kF32, nullptr, 0, 0});
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t n = 0; n < c.cols; ++n) c.row(r)[n] += product[r * kBlock + n];
  });
  pending_rows_ = 0;
}

HessianFactor Hessian::factor(OpContext& ctx, double damping) {
  LATENT8_CHECK(rows_ > 0 && damping > 0.0);
  if (pending_rows_ > 0) add_pending(ctx);
  const std::int64_t n = channels(), n_blocks = blocks(n);
  double mean = 0.0;
  for (std::int64_t c = 0; c < n; ++c) mean += diagonal(c) / static_cast<double>(n);
  for (std::int64_t c = 0; c < n; ++c) {
    float& pivot = h_.row(c)[c];
    added_.push_back(pivot == 0.0F ? 1.0F : static_cast<float>(damping * mean));
    pivot += added_.back();
  }
  ctx.reserve_worker_scratch(kProduct * static_cast<std::int64_t>(sizeof(float)));
  Matrix<float> transposed(kBlock, n + kRowPadding);  // the blocks below the diagonal one
  for (std::int64_t k = 0; k < n_blocks; ++k) {
    const Mat<float> diagonal_block = block_at(h_, k, k);
    factor_block(diagonal_block);
    const std::int64_t below = (k + 1) * kBlock;
    if (below >= n) break;
    ctx.pool().parallel_for(n - below, kSolved, [&](std::int64_t begin, std::int64_t end, int) {
      solve_rows(diagonal_block, h_.view().row_range(below + begin, below + end).col_range(k * kBlock, below),
                 transposed.view().col_range(below + begin, below + end));
    });
    for_lower_blocks(ctx.pool(), k + 1, n_blocks, [&](std::int64_t i, std::int64_t j, int worker) {
      const Mat<float> c = block_at(h_, i, j), a = block_at(h_, i, k);
      auto* product = static_cast<float*>(ctx.worker_scratch(worker));
      ctx.kernels().gemm_nn_f32({a.data, transposed.row(0) + j * kBlock, product, c.rows, c.cols, kBlock,
                                 a.row_stride, transposed.cols(), kBlock, WeightType::kF32, nullptr, 0, 0});
      for (std::int64_t r = 0; r < c.rows; ++r)
        for (std::int64_t col = 0; col < c.cols; ++col) c.row(r)[col] -= product[r * kBlock + col];
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
  return {h_.view().col_range(0, n), d_, added_};
}

}  // namespace latent8
