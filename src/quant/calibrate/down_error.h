#pragma once
// What int8 inputs of a dense layer's down_proj cost.

#include <cstdint>
#include <span>

#include "quant/calibrate/calibration.h"

namespace latent8 {

// rms over tokens of what int8 inputs of a down_proj change, relative to the residual stream behind it.
class DownError {
 public:
  // To be called when a step's MLP has run: in the run's scratch, s.x is the stream that entered it, s.delta
  // its output.
  //   input [T, intermediate]; counts [T]: rows with 0 are left out
  void add(CalibrationRun& run, const Linear& down, ConstMat<float> input,
           std::span<const std::uint8_t> counts);
  double value() const;  // 0 before the first token

 private:
  double sum_ = 0.0;
  std::int64_t tokens_ = 0;
};

}  // namespace latent8
