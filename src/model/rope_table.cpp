#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace latent8 {
namespace {

double get_mscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// The pair index at which a full context holds `rotations` turns.
double correction_dim(double rotations, double dim, double theta, double context) {
  return dim * std::log(context / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(theta));
}

std::vector<float> inverse_frequencies(const ModelConfig& config) {
  const std::int64_t dim = config.qk_rope_head_dim;
  const auto size = static_cast<double>(dim);
  std::vector<float> frequencies;
  double low = 0, high = 0;
  if (config.rope_scaling) {
    const RopeScaling& y = *config.rope_scaling;
    const auto context = static_cast<double>(y.original_max_position_embeddings);
    low = std::max(std::floor(correction_dim(y.beta_fast, size, config.rope_theta, context)), 0.0);
    high = std::min(std::ceil(correction_dim(y.beta_slow, size, config.rope_theta, context)), size - 1);
    if (low == high) high += 0.001;
  }
  for (std::int64_t i = 0; i < dim / 2; ++i) {
    const double base = 1.0 / std::pow(config.rope_theta, 2.0 * static_cast<double>(i) / size);
    double frequency = base;
    if (config.rope_scaling) {
      const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
      frequency = base / config.rope_scaling->factor * ramp + base * (1.0 - ramp);
    }
    frequencies.push_back(static_cast<float>(frequency));
  }
  return frequencies;
}

}  // namespace

RopeFrequencies::RopeFrequencies(const ModelConfig& config)
    : dim_(config.qk_rope_head_dim),
      max_positions_(config.max_position_embeddings),
      frequencies_(inverse_frequencies(config)),
      cos_(max_positions_ * dim_ / 2),
      sin_(max_positions_ * dim_ / 2) {
  if (!config.rope_scaling) return;
  const RopeScaling& y = *config.rope_scaling;
  magnitude_ = get_mscale(y.factor, y.mscale) / get_mscale(y.factor, y.mscale_all_dim);
}

RopeTable RopeFrequencies::table(std::int64_t positions) const {
  constexpr std::int64_t kStep =
      8192;  // positions filled at a time: decoding does not stop for one at each token
  if (filled_.load(std::memory_order_acquire) < std::min(positions, max_positions_)) {
    const std::lock_guard lock(mutex_);
    const std::int64_t end = std::min((positions + kStep - 1) / kStep * kStep, max_positions_);
    std::int64_t position = filled_.load(std::memory_order_relaxed);
    std::int64_t at = position * dim_ / 2;
    for (; position < end; ++position)
      for (const float frequency : frequencies_) {
        const double angle = static_cast<float>(position) * frequency;
        cos_[at] = static_cast<float>(std::cos(angle) * magnitude_);
        sin_[at++] = static_cast<float>(std::sin(angle) * magnitude_);
      }
    filled_.store(position, std::memory_order_release);
  }
  return {cos_.span(), sin_.span(), dim_};
}

float softmax_scale(const ModelConfig& config) {
  double scale = 1.0 / std::sqrt(static_cast<double>(config.qk_head_dim()));
  if (config.rope_scaling && config.rope_scaling->mscale_all_dim != 0.0) {
    const double mscale = get_mscale(config.rope_scaling->factor, config.rope_scaling->mscale_all_dim);
    scale *= mscale * mscale;
  }
  return static_cast<float>(scale);
}

}  // namespace latent8
