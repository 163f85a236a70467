#include "quant/compat/int8_linear.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/weights/rounding.h"

namespace latent8::compat {
namespace {

constexpr std::int64_t kRowGrain = 16;

float row_scale(DType type, std::span<const float> row) {
  float amax = 0.0F;
  for (const float w : row) amax = std::max(amax, std::fabs(w));
  return symmetric_scale(type, amax);
}

// row = clamp(rint(r(row / scale)), lowest, 127)
void to_codes(DType type, float scale, float lowest, std::span<float> row) {
  for (float& w : row) w /= scale;
  round_in_place(type, row);
  for (float& w : row) w = std::clamp(std::nearbyint(w), lowest, kMaxCode);
}

// As an x86 CPU converts: INT32_MIN for what int32 cannot hold.
std::int32_t to_int32(float x) {
  const bool fits = x >= -0x1p31F && x < 0x1p31F;
  return fits ? static_cast<std::int32_t>(x) : std::numeric_limits<std::int32_t>::min();
}

}  // namespace

Int8Weight quantize_weight(ThreadPool& pool, DType type, const Matrix<float>& weight) {
  Int8Weight out{Matrix<std::int8_t>(weight.rows(), weight.cols()),
                 std::vector<float>(static_cast<std::size_t>(weight.rows()))};
  pool.parallel_for(weight.rows(), kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> row(static_cast<std::size_t>(weight.cols()));
    for (std::int64_t r = begin; r < end; ++r) {
      const float scale = row_scale(type, weight.view().row_span(r));
      std::copy_n(weight.row(r), row.size(), row.begin());
      to_codes(type, scale, -kMaxCode, row);
      std::int8_t* codes = out.codes.row(r);
      for (std::size_t c = 0; c < row.size(); ++c) codes[c] = static_cast<std::int8_t>(row[c]);
      out.scale[static_cast<std::size_t>(r)] = scale;
    }
  });
  return out;
}

void fake_quantize_weight(ThreadPool& pool, DType type, Matrix<float>& weight) {
  pool.parallel_for(weight.rows(), kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::span<float> row = weight.view().row_span(r);
      const float scale = row_scale(type, row);
      to_codes(type, scale, -kMaxCode - 1.0F, row);
      for (float& w : row) w *= scale;
      round_in_place(type, row);
    }
  });
}

StaticTensors static_tensors(DType type, const Int8Weight& weight, const StaticInput& input,
                             const std::vector<float>& bias) {
  StaticTensors out;
  for (std::size_t r = 0; r < weight.scale.size(); ++r) {
    const float deq = round_to(type, input.scale * weight.scale[r]);
    std::int64_t sum = 0;
    for (const std::int8_t code : weight.codes.view().row_span(static_cast<std::int64_t>(r))) sum += code;
    const float folded = bias.empty() ? 0.0F : bias[r] / deq;
    out.deq_scale.push_back(deq);
    out.quant_bias.push_back(to_int32(std::nearbyint(folded - static_cast<float>(sum) * input.offset)));
  }
  return out;
}

}  // namespace latent8::compat
