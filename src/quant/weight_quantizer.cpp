#include "quant/weight_quantizer.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace latent8 {
namespace {

constexpr float kMaxCode = 127.0F;
constexpr std::int64_t kRowGrain = 16;

// Rows [begin, end) of the result; returns the first row with a weight that is not finite, or -1.
std::int64_t quantize_rows(const SourceTensor& weight, DType type, std::int64_t begin, std::int64_t end,
                           QuantizedWeight& out) {
  std::vector<float> row(static_cast<std::size_t>(weight.cols()));
  for (std::int64_t r = begin; r < end; ++r) {
    weight.read_row(r, row.data());
    float amax = 0.0F;
    bool finite = true;
    for (const float w : row) {
      amax = std::max(amax, std::fabs(w));
      finite &= std::isfinite(w);
    }
    if (!finite) return r;
    const float scale = symmetric_scale(type, amax);
    std::int8_t* codes = out.codes.row(r);
    std::int64_t sum = 0;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const float code = std::clamp(std::nearbyint(row[c] / scale), -kMaxCode, kMaxCode);
      codes[c] = static_cast<std::int8_t>(code);
      sum += codes[c];
    }
    out.scale[static_cast<std::size_t>(r)] = scale;
    out.row_sum[static_cast<std::size_t>(r)] = sum;
  }
  return -1;
}

}  // namespace

float round_to(DType type, float x) {
  std::uint32_t stored = 0;
  narrow(&x, type, 1, &stored);
  float out = 0.0F;
  widen(&stored, type, 1, &out);
  return out;
}

float symmetric_scale(DType type, float amax) {
  return std::max(round_to(type, amax / kMaxCode), kSmallestScale);
}

QuantizedWeight quantize_weight(ThreadPool& pool, const SourceTensor& weight, DType scale_type) {
  QuantizedWeight out;
  out.codes = Matrix<std::int8_t>(weight.rows(), weight.cols());
  out.scale.resize(static_cast<std::size_t>(weight.rows()));
  out.row_sum.resize(static_cast<std::size_t>(weight.rows()));
  std::atomic<std::int64_t> bad_row{-1};
  pool.parallel_for(weight.rows(), kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
    const std::int64_t bad = quantize_rows(weight, scale_type, begin, end, out);
    if (bad >= 0) bad_row = bad;
  });
  if (bad_row >= 0)
    throw_error(ErrorCode::kCorrupt, "tensor '{}': finite weights expected, row {} has NaN or Inf",
                weight.name(), bad_row.load());
  return out;
}

std::vector<double> column_energy(ThreadPool& pool, const SourceTensor& weight) {
  // Every worker adds up pieces in an order that depends on timing, hence one sum per piece.
  constexpr std::int64_t kPiece = 256;
  const std::int64_t pieces = (weight.rows() + kPiece - 1) / kPiece;
  Matrix<double> partial(pieces, weight.cols());
  pool.parallel_for(pieces, 1, [&](std::int64_t piece, std::int64_t, int) {
    std::vector<float> row(static_cast<std::size_t>(weight.cols()));
    for (std::int64_t r = piece * kPiece; r < std::min(weight.rows(), (piece + 1) * kPiece); ++r) {
      weight.read_row(r, row.data());
      for (std::size_t c = 0; c < row.size(); ++c) partial.row(piece)[c] += double{row[c]} * row[c];
    }
  });
  std::vector<double> sum(static_cast<std::size_t>(weight.cols()));
  for (std::int64_t piece = 0; piece < pieces; ++piece)
    for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += partial.row(piece)[c];
  return sum;
}

StaticInput static_input(DType type, float low, float high) {
  low = std::min(low, 0.0F);
  high = std::max(high, 0.0F);
  StaticInput out;
  out.scale = std::max(round_to(type, (high - low) / 255.0F), kSmallestScale);
  out.offset = std::clamp(std::nearbyint(-low / out.scale) - 128.0F, -128.0F, 127.0F);
  return out;
}

StaticTensors static_tensors(DType type, const QuantizedWeight& weight, const StaticInput& input,
                             const std::vector<float>& bias) {
  StaticTensors out;
  for (std::size_t r = 0; r < weight.scale.size(); ++r) {
    const float deq = round_to(type, input.scale * weight.scale[r]);
    // In double: the sum of a long row times the offset does not fit float32's 24 bits.
    const double folded = bias.empty() ? 0.0 : double{bias[r]} / deq;
    const double value =
        std::nearbyint(folded - static_cast<double>(weight.row_sum[r]) * double{input.offset});
    out.deq_scale.push_back(deq);
    out.quant_bias.push_back(
        static_cast<std::int32_t>(std::clamp(value, double{std::numeric_limits<std::int32_t>::min()},
                                             double{std::numeric_limits<std::int32_t>::max()})));
  }
  return out;
}

}  // namespace latent8
