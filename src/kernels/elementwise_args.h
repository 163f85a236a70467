#pragma once
// Arguments of the kernels that go over rows of floats.

#include <cstdint>

namespace latent8 {

// out[m, n] = x / sqrt(mean(x^2) + eps) * weight + bias. out may be x.
struct RmsNormArgs {
  const float* x;       // [m, n], rows x_stride apart
  float* out;           // [m, n], rows out_stride apart
  const float* weight;  // [n]
  const float* bias;    // [n], nullptr means 0
  std::int64_t m, n, x_stride, out_stride;
  float eps;
};

// Rotates pairs of every head in place: (2i, 2i + 1), the interleaved form of DeepSeek checkpoints.
struct RopeArgs {
  float* x;                       // [m, heads, dim]: token stride x_stride, head stride head_stride
  const std::int32_t* positions;  // [m]
  const float* cos;               // [max_position, dim / 2]
  const float* sin;               // [max_position, dim / 2]
  std::int64_t m, heads, dim, x_stride, head_stride;
  bool halves = false;  // pairs (i, i + dim / 2) instead
};

// out[m, n] = gate / (1 + exp(-gate)) * up. out may be gate.
struct SiluMulArgs {
  const float* gate;  // [m, n], rows stride apart, as are up and out
  const float* up;
  float* out;
  std::int64_t m, n, gate_stride, up_stride, out_stride;
};

}  // namespace latent8
