#pragma once
// The second moment of a linear's inputs: how much an error of one weight can be made good by another.

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "ops/context.h"

namespace latent8 {

// H + diag(added) = L D L^T. Ownership: refers to the Hessian that made it.
struct HessianFactor {
  ConstMat<float> l;             // [channels, channels], ones on the diagonal; what lies above is not read
  std::span<const double> d;     // [channels]
  std::span<const float> added;  // [channels] damping, and 1 for channels that were always 0
};

// H = sum over rows of x^T x, in float32; only the lower triangle is kept up.
// Results depend neither on the number of threads nor on how the rows are handed over.
class Hessian {
 public:
  explicit Hessian(std::int64_t channels)
      : h_(channels, channels + kRowPadding), pending_(channels, kPending) {}

  // What it has in memory while it is factored.
  static std::int64_t bytes(std::int64_t channels);

  //   x [T, channels]; counts [T]: rows with 0 are left out
  void add(OpContext& ctx, ConstMat<float> x, std::span<const std::uint8_t> counts);

  std::int64_t channels() const { return h_.rows(); }
  std::int64_t rows() const { return rows_; }  // added so far
  // Factors H + damping * mean(diag H) * I in place. Channels that were always 0 are as if uncorrelated with
  // the rest. REQUIRES: rows() > 0, damping > 0.
  HessianFactor factor(OpContext& ctx, double damping);

 private:
  // Rows that lie a power of two apart would meet in few sets of a cache.
  static constexpr std::int64_t kRowPadding = 16;
  static constexpr std::int64_t kPending = 512;  // rows that are added together

  void add_pending(OpContext& ctx);
  double diagonal(std::int64_t c) const { return double{h_.row(c)[c]}; }

  Matrix<float> h_;        // [channels, channels + kRowPadding]
  Matrix<float> pending_;  // [channels, kPending], the last pending_rows_ rows, transposed
  std::int64_t pending_rows_ = 0;
  std::vector<double> d_;     // after factor(), as in HessianFactor
  std::vector<float> added_;  // the same
  std::int64_t rows_ = 0;
};

}  // namespace latent8
