#include "engine/chunk_budget.h"

#include <algorithm>

namespace latent8 {

void ChunkBudget::observe(std::int64_t tokens, double time_s) {
  constexpr double kFade = 0.9;
  const auto n = static_cast<double>(tokens);
  const auto add = [](double& sum, double value) { sum = kFade * sum + value; };
  add(count_, 1.0);
  add(n_, n);
  add(t_, time_s);
  add(nn_, n * n);
  add(nt_, n * time_s);
}

std::int64_t ChunkBudget::tokens() const {
  constexpr std::int64_t kLeast = 16;
  constexpr double kLeastVariance = 1e-3;  // of n, relative to n^2: below it all chunks were alike
  const std::int64_t least = std::min(kLeast, most_);
  if (gap_s_ <= 0.0 || count_ == 0.0) return most_;
  const double variance = count_ * nn_ - n_ * n_;
  double per_token = t_ / n_, fixed = 0.0;
  if (variance > kLeastVariance * n_ * n_) {
    per_token = std::max((count_ * nt_ - n_ * t_) / variance, 0.05 * per_token);
    fixed = std::max((t_ - per_token * n_) / count_, 0.0);
  }
  const double tokens = std::max(gap_s_ - fixed, fixed) / per_token;
  return std::clamp(static_cast<std::int64_t>(std::min(tokens, static_cast<double>(most_))) / kLeast * kLeast,
                    least, most_);
}

}  // namespace latent8
