#include "quant/weights/weight_quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/kernel_table.h"
#include "quant/weights/expert_stream.h"
#include "quant/weights/rounding.h"
#include "sys/parallel.h"

namespace latent8 {
namespace {

// Widened weights of a fold that are under way at once; they stay in a second-level cache.
constexpr std::int64_t kWidenedBytes = 128 << 10;

}  // namespace

void row_scales(const SourceTensor& weight, const WeightRows& rows, std::int64_t begin, DType type,
                float* scale) {
  kernels().weight_amax({rows, scale});
  for (std::int64_t r = 0; r < rows.m; ++r) {
    if (!std::isfinite(scale[r]))
      throw_error(ErrorCode::kCorrupt, "tensor '{}': finite weights expected, row {} has NaN or Inf",
                  weight.name(), begin + r);
    scale[r] = symmetric_scale(type, scale[r]);
    if (!std::isfinite(scale[r]))
      throw_error(ErrorCode::kUnsupported, "tensor '{}': row {} is too large for a scale of type {}",
                  weight.name(), begin + r, to_string(type));
  }
}

void RowQuantizer::quantize(const SourceTensor& weight, std::int64_t begin, std::int64_t end,
                            std::span<const std::byte> stored, const Output& out) {
  if (weight.fold().empty()) return quantize_rows(weight, weight.weight_rows(begin, end, stored), begin, out);
  const std::int64_t cols = weight.cols();
  const std::int64_t step = std::max<std::int64_t>(kWidenedBytes / (cols * 4), 1);
  if (widened_.size() < step * cols) widened_ = AlignedBuffer<float>(step * cols);
  for (std::int64_t row = begin; row < end; row += step) {
    const std::int64_t at = row - begin, rows = std::min(step, end - row);
    const auto bytes = stored.subspan(static_cast<std::size_t>(at * weight.row_bytes()),
                                      static_cast<std::size_t>(rows * weight.row_bytes()));
    kernels().widen_weight({weight.weight_rows(row, row + rows, bytes), widened_.data()});
    WeightRows folded;
    folded.w = widened_.data();
    folded.m = rows;
    folded.k = cols;
    quantize_rows(weight, folded, row, {out.codes + at * cols, out.scale + at, out.row_sum + at});
  }
}

void RowQuantizer::quantize_rows(const SourceTensor& weight, const WeightRows& rows, std::int64_t begin,
                                 const Output& out) {
  row_scales(weight, rows, begin, scale_type_, out.scale);
  kernels().weight_codes({rows, out.scale, out.codes, out.row_sum});
}

QuantizedWeight quantize_weight(ThreadPool& pool, const SourceTensor& weight, DType scale_type) {
  QuantizedWeight out;
  out.codes = Matrix<std::int8_t>(weight.rows(), weight.cols());
  out.scale.resize(static_cast<std::size_t>(weight.rows()));
  out.row_sum.resize(static_cast<std::size_t>(weight.rows()));
  stream_weights(pool, {&weight, 1}, scale_type, [&](std::size_t, const QuantizedRows& rows) {
    std::copy(rows.codes.begin(), rows.codes.end(), out.codes.row(rows.row));
    std::copy(rows.scale.begin(), rows.scale.end(), out.scale.begin() + rows.row);
    std::copy(rows.row_sum.begin(), rows.row_sum.end(), out.row_sum.begin() + rows.row);
  });
  return out;
}

std::vector<double> column_energy(ThreadPool& pool, const SourceTensor& weight) {
  // Every worker adds up pieces in an order that depends on timing, hence one sum per piece.
  constexpr std::int64_t kPiece = 256;
  const std::int64_t pieces = (weight.rows() + kPiece - 1) / kPiece;
  Matrix<double> partial(pieces, weight.cols());
  parallel_for_or_throw(pool, pieces, 1, [&](std::int64_t piece, std::int64_t, int) {
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
