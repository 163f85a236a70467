#pragma once
// Random linears of every kind, in memory of their own.

#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/dtype.h"
#include "ops/linear.h"
#include "support/kernels.h"

namespace latent8 {

enum class Stored { kF32, kBf16, kF8, kStatic, kDynamic };
inline constexpr Stored kStored[] = {Stored::kF32, Stored::kBf16, Stored::kF8, Stored::kStatic, Stored::kDynamic};

// Owns what its `linear` shows.
class OwnedLinear {
 public:
  OwnedLinear(Stored stored, std::int64_t n, std::int64_t k, std::uint64_t seed) {
    linear.out_features = n;
    linear.in_features = k;
    if (stored == Stored::kStatic || stored == Stored::kDynamic) {
      codes_ = random_codes(n * k, seed);
      scale_ = normal_floats(n, seed + 1);
      linear.weight = codes_.data();
      linear.scale = scale_.data();
      linear.kind = stored == Stored::kStatic ? Linear::Kind::kW8A8Static : Linear::Kind::kW8A8Dynamic;
      linear.input_scale = 0.03F;
      linear.input_offset = 3.0F;
      Rng rng(seed + 2);
      for (std::int64_t i = 0; i < n; ++i) quant_bias_.push_back(static_cast<std::int32_t>(rng.below(2001) - 1000));
      if (stored == Stored::kStatic) linear.quant_bias = quant_bias_.data();
      return;
    }
    const std::vector<float> values = normal_floats(n * k, seed);
    const DType type = stored == Stored::kF32    ? DType::kF32
                       : stored == Stored::kBf16 ? DType::kBf16
                                                 : DType::kF8E4M3;
    bytes_.resize(static_cast<std::size_t>(n * k * size_of(type)));
    if (stored == Stored::kF8) {
      Rng rng(seed);
      for (std::byte& b : bytes_) b = static_cast<std::byte>(rng.below(120) + 128 * rng.below(2));
      linear.block_scale_stride = (k + 127) / 128;
      scale_ = normal_floats((n + 127) / 128 * linear.block_scale_stride, seed + 1);
      linear.block_scale = scale_.data();
      linear.type = WeightType::kF8E4M3;
    } else {
      narrow(values.data(), type, n * k, bytes_.data());
      linear.type = stored == Stored::kF32 ? WeightType::kF32 : WeightType::kBf16;
      bias_ = normal_floats(n, seed + 3);
      linear.bias = bias_.data();
    }
    linear.weight = bytes_.data();
  }
  OwnedLinear(OwnedLinear&&) = default;

  Linear linear;

 private:
  std::vector<std::byte> bytes_;
  std::vector<std::int8_t> codes_;
  std::vector<float> scale_, bias_;
  std::vector<std::int32_t> quant_bias_;
};

inline Matrix<float> normal_matrix(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  Matrix<float> m(rows, cols);
  const std::vector<float> values = normal_floats(rows * cols, seed);
  std::copy(values.begin(), values.end(), m.row(0));
  return m;
}

inline std::vector<float> values_of(ConstMat<float> m) {
  std::vector<float> out;
  for (std::int64_t r = 0; r < m.rows; ++r) out.insert(out.end(), m.row(r), m.row(r) + m.cols);
  return out;
}

}  // namespace latent8
