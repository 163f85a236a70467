#include "quant/latent/latent_fold.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "source/latent_rotation.h"

namespace latent8 {
namespace {

constexpr std::int64_t kColumns = 64;  // of kv_a that one piece of the parallel loop rotates

// kv_a := R kv_a, gamma := 1, kv_b := kv_b diag(gamma) R^T.
void rotate_weights(ThreadPool& pool, const LatentWeights& w) {
  const std::size_t rank = w.gamma.size();
  const LatentRotation rotation(rank);
  const Mat<float> kv_a = w.kv_a.row_range(0, static_cast<std::int64_t>(rank));
  pool.parallel_for(kv_a.cols, kColumns, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> column(rank);
    for (std::int64_t c = begin; c < end; ++c) {
      for (std::size_t r = 0; r < rank; ++r) column[r] = kv_a.row(static_cast<std::int64_t>(r))[c];
      rotation.turn(column);
      for (std::size_t r = 0; r < rank; ++r) kv_a.row(static_cast<std::int64_t>(r))[c] = column[r];
    }
  });
  pool.parallel_for(w.kv_b.rows, kColumns, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::span<float> row = w.kv_b.row_span(r);
      for (std::size_t c = 0; c < rank; ++c) row[c] *= w.gamma[c];
      rotation.turn(row);
    }
  });
  std::fill(w.gamma.begin(), w.gamma.end(), 1.0F);
}

}  // namespace

std::string LatentFold::name() const {
  if (rotate) return scale.empty() ? "rotation" : "both";
  return scale.empty() ? "none" : "fold";
}

void apply_fold(ThreadPool& pool, const LatentFold& fold, const LatentWeights& w) {
  const std::size_t rank = w.gamma.size();
  LATENT8_CHECK_EQ(w.kv_b.cols, static_cast<std::int64_t>(rank));
  if (fold.rotate) rotate_weights(pool, w);
  if (fold.scale.empty()) return;
  LATENT8_CHECK_EQ(fold.scale.size(), rank);
  for (std::size_t c = 0; c < rank; ++c) w.gamma[c] /= fold.scale[c];
  pool.parallel_for(w.kv_b.rows, kColumns, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::size_t c = 0; c < rank; ++c) w.kv_b.row(r)[c] *= fold.scale[c];
  });
}

std::vector<float> to_powers_of_two(std::vector<float> scale) {
  for (float& s : scale) s = std::exp2(std::nearbyint(std::log2(s)));
  return scale;
}

}  // namespace latent8
