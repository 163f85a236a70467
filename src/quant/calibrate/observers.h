#pragma once
// What calibration remembers of the values that pass through a layer.

#include <cstdint>
#include <span>
#include <vector>

#include "base/views.h"
#include "quant/weights/weight_quantizer.h"

namespace latent8 {

// The input of the static linears that share it: its extremes, and a histogram in which a value counts as
// much as its channel's column of the weights does, so that a squared error of values estimates that of the
// outputs.
class InputObserver {
 public:
  // energy [channels]: column_energy() summed over the linears that read this input
  explicit InputObserver(std::vector<double> energy);

  //   x [T, channels]; counts [T]: rows with 0 are left out
  void observe(ConstMat<float> x, std::span<const std::uint8_t> counts);

  float low() const { return low_; }    // 0 before the first value
  float high() const { return high_; }  // 0 before the first value
  // The codes of least weighted squared error among those of [a * low, b * high], a and b on a grid from 0.3
  // to 1; clipping a rare value is worth it if everything else becomes finer.
  StaticInput best_input(DType type) const;

 private:
  void widen_histogram(float amax);
  double error_of(const StaticInput& input) const;

  std::vector<double> energy_;
  std::vector<double> mass_;  // of the bins over [-reach_, reach_]
  float reach_ = 0.0F;
  float low_ = 0.0F, high_ = 0.0F;
};

// The absorbed query of the int8 latent cache, per head.
class FaObserver {
 public:
  explicit FaObserver(std::int64_t heads) : q_amax_(static_cast<std::size_t>(heads)) {}

  //   q_absorbed [T, heads * rank] before the softmax scale; counts [T]: rows with 0 are left out
  void observe(ConstMat<float> q_absorbed, std::span<const std::uint8_t> counts);

  // Symmetric scales of the largest values seen, [heads]. A window that cuts the largest 0.01 %, as the
  // reference has for queries and latents, costs more than it gains where P is rounded to 8 bits too: KL
  // divergence 1.6e-4 against 1.3e-4 on a model whose latents have no strong outliers.
  std::vector<float> q_scale(DType type) const;

 private:
  std::vector<float> q_amax_;  // [heads]
};

}  // namespace latent8
