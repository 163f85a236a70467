#include "quant/latent_fold.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"

namespace latent8 {
namespace {

constexpr std::uint64_t kSignSeed = 42;
constexpr std::int64_t kColumns = 64;  // of kv_a that one piece of the parallel loop rotates

std::vector<float> signs(std::size_t n) {
  Rng rng(kSignSeed);
  std::vector<float> out(n);
  for (float& sign : out) sign = rng.uniform() < 0.5F ? -1.0F : 1.0F;
  return out;
}

void rotate(std::span<float> x, std::span<const float> sign) {
  const std::size_t n = x.size(), block = n & (~n + 1);  // the largest power of two that divides n
  for (std::size_t i = 0; i < n; ++i) x[i] *= sign[i];
  for (std::size_t half = 1; half < block; half *= 2)
    for (std::size_t i = 0; i < n; i += 2 * half)
      for (std::size_t j = i; j < i + half; ++j) {
        const float a = x[j], b = x[j + half];
        x[j] = a + b;
        x[j + half] = a - b;
      }
  const float norm = 1.0F / std::sqrt(static_cast<float>(block));
  for (float& value : x) value *= norm;
}

// kv_a := R kv_a, gamma := 1, kv_b := kv_b diag(gamma) R^T.
void rotate_weights(ThreadPool& pool, const LatentWeights& w) {
  const std::size_t rank = w.gamma.size();
  const std::vector<float> sign = signs(rank);
  const Mat<float> kv_a = w.kv_a.row_range(0, static_cast<std::int64_t>(rank));
  pool.parallel_for(kv_a.cols, kColumns, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> column(rank);
    for (std::int64_t c = begin; c < end; ++c) {
      for (std::size_t r = 0; r < rank; ++r) column[r] = kv_a.row(static_cast<std::int64_t>(r))[c];
      rotate(column, sign);
      for (std::size_t r = 0; r < rank; ++r) kv_a.row(static_cast<std::int64_t>(r))[c] = column[r];
    }
  });
  pool.parallel_for(w.kv_b.rows, kColumns, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::span<float> row = w.kv_b.row_span(r);
      for (std::size_t c = 0; c < rank; ++c) row[c] *= w.gamma[c];
      rotate(row, sign);
    }
  });
  std::fill(w.gamma.begin(), w.gamma.end(), 1.0F);
}

}  // namespace

std::string LatentFold::name() const {
  if (rotate) return scale.empty() ? "rotation" : "both";
  return scale.empty() ? "none" : "fold";
}

void latent_rotation(std::span<float> x) { rotate(x, signs(x.size())); }

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
