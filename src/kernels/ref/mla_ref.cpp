#include "kernels/ref/mla_ref.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace latent8 {
namespace {

double dot(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

std::int64_t seen_keys(const MlaRefArgs& a, std::int64_t row) {
  return std::clamp<std::int64_t>(a.visible[row] - a.key_begin, 0, a.n_keys);
}

MlaRefResult empty_result(const MlaRefArgs& a) {
  const auto rows = static_cast<std::size_t>(a.rows);
  return {std::vector<double>(rows * static_cast<std::size_t>(a.rank)),
          std::vector<double>(rows, -std::numeric_limits<double>::infinity()), std::vector<double>(rows),
          std::vector<double>(rows)};
}

std::vector<double> scores(const MlaRefArgs& a, std::int64_t row, double qk_scale) {
  std::vector<double> s(static_cast<std::size_t>(seen_keys(a, row)));
  for (std::int64_t key = 0; key < std::ssize(s); ++key)
    s[static_cast<std::size_t>(key)] = dot(a.q + row * a.rank, a.k + key * a.rank, a.rank) * qk_scale +
                                       dot(a.q_pe + row * a.rope, a.k_pe + key * a.rope, a.rope);
  return s;
}

}  // namespace

MlaRefResult mla_attend_s8_ref(const MlaRefArgs& a) {
  MlaRefResult result = empty_result(a);
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const std::vector<double> s = scores(a, row, a.qk_scale[row]);
    if (s.empty()) continue;
    const double max = *std::max_element(s.begin(), s.end());
    double sum = 0, slack = 0;
    double* out = &result.out[static_cast<std::size_t>(row * a.rank)];
    for (std::int64_t begin = 0; begin < std::ssize(s); begin += a.tile_keys) {
      const std::int64_t end = std::min<std::int64_t>(begin + a.tile_keys, std::ssize(s));
      const double tile_max = *std::max_element(s.begin() + begin, s.begin() + end);
      const double weight = std::exp(tile_max - max);
      for (std::int64_t key = begin; key < end; ++key) {
        const double p = std::exp(s[static_cast<std::size_t>(key)] - tile_max);
        const double p8 = std::nearbyint(255 * p);
        sum += p * weight;
        if (std::fabs(std::fabs(255 * p - p8) - 0.5) < 1e-3) slack += 128 * a.v_scale * weight / 255;
        for (std::int64_t d = 0; d < a.rank; ++d)
          out[d] += p8 / 255 * weight * a.k[key * a.rank + d] * a.v_scale;
      }
    }
    result.max[static_cast<std::size_t>(row)] = max;
    result.sum[static_cast<std::size_t>(row)] = sum;
    result.tie_slack[static_cast<std::size_t>(row)] = slack;
  }
  return result;
}

MlaRefResult mla_attend_ref(const MlaRefArgs& a) {
  MlaRefResult result = empty_result(a);
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const std::vector<double> s = scores(a, row, 1.0);
    if (s.empty()) continue;
    const double max = *std::max_element(s.begin(), s.end());
    double* out = &result.out[static_cast<std::size_t>(row * a.rank)];
    for (std::int64_t key = 0; key < std::ssize(s); ++key) {
      const double p = std::exp(s[static_cast<std::size_t>(key)] - max);
      result.sum[static_cast<std::size_t>(row)] += p;
      for (std::int64_t d = 0; d < a.rank; ++d) out[d] += p * a.k[key * a.rank + d];
    }
    result.max[static_cast<std::size_t>(row)] = max;
  }
  return result;
}

}  // namespace latent8
