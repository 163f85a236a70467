#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>
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

bool has(const ModelConfig& config, std::string_view type) {
  return config.rope_scaling && config.rope_scaling->type == type;
}

void blend_yarn(const RopeScaling& y, double theta, std::vector<double>& frequencies) {
  const double size = 2.0 * static_cast<double>(frequencies.size());
  const auto context = static_cast<double>(y.original_max_position_embeddings);
  const double low = std::max(std::floor(correction_dim(y.beta_fast, size, theta, context)), 0.0);
  double high = std::min(std::ceil(correction_dim(y.beta_slow, size, theta, context)), size - 1);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double base = frequencies[i],
                 ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = base / y.factor * ramp + base * (1.0 - ramp);
  }
}

std::vector<float> inverse_frequencies(const ModelConfig& config) {
  const auto size = static_cast<double>(config.qk_rope_head_dim);
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < config.qk_rope_head_dim / 2; ++i)
    frequencies.push_back(1.0 / std::pow(config.rope_theta, 2.0 * static_cast<double>(i) / size));
  if (has(config, "yarn")) blend_yarn(*config.rope_scaling, config.rope_theta, frequencies);
  // Contexts end before the long factors begin (ModelConfig::context_limit).
  if (has(config, "longrope"))
    for (std::size_t i = 0; i < frequencies.size(); ++i)
      frequencies[i] /= config.rope_scaling->short_factor[i];
  return {frequencies.begin(), frequencies.end()};
}

// What cos and sin are multiplied by.
double rope_magnitude(const ModelConfig& config) {
  if (!config.rope_scaling) return 1.0;
  const RopeScaling& r = *config.rope_scaling;
  if (r.type == "yarn") return get_mscale(r.factor, r.mscale) / get_mscale(r.factor, r.mscale_all_dim);
  const auto context = static_cast<double>(r.original_max_position_embeddings);
  return r.attention_factor.value_or(std::sqrt(1.0 + std::log(r.factor) / std::log(context)));
}

}  // namespace

RopeFrequencies::RopeFrequencies(const ModelConfig& config)
    : dim_(config.qk_rope_head_dim),
      max_positions_(config.context_limit().tokens),
      frequencies_(inverse_frequencies(config)),
      cos_(max_positions_ * dim_ / 2),
      sin_(max_positions_ * dim_ / 2),
      magnitude_(rope_magnitude(config)),
      halves_(!config.rope_interleave) {}

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
  return {cos_.span(), sin_.span(), dim_, halves_};
}

float softmax_scale(const ModelConfig& config) {
  double scale = 1.0 / std::sqrt(static_cast<double>(config.qk_head_dim()));
  if (has(config, "yarn") && config.rope_scaling->mscale_all_dim != 0.0) {
    const double mscale = get_mscale(config.rope_scaling->factor, config.rope_scaling->mscale_all_dim);
    scale *= mscale * mscale;
  }
  return static_cast<float>(scale);
}

}  // namespace latent8
