#pragma once
// The arithmetic of W8A8: int8 weights with one scale per row, and what a static input range adds to them.
// Source: docs/format.md, "Quantised linears". Where the reference computes in the model's type we compute in
// float32 and round once, to the stored type.

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/dtype.h"
#include "source/source_tensor.h"
#include "sys/thread_pool.h"

namespace latent8 {

// symmetric_scale() of the largest value of each row.
//   rows   of `weight`, the first is its row `begin`; scale [rows.m]
// Throws: Error{kCorrupt} naming tensor and row if a weight is NaN or Inf, Error{kUnsupported} if the type
// cannot hold the scale.
void row_scales(const SourceTensor& weight, const WeightRows& rows, std::int64_t begin, DType type,
                float* scale);

// Quantises rows of one tensor after another, with memory of its own for what lies between.
// Thread-safety: one thread.
class RowQuantizer {
 public:
  struct Output {
    std::int8_t* codes;     // [end - begin, cols] dense, in [-127, 127]
    float* scale;           // [end - begin] values of the scales' type
    std::int32_t* row_sum;  // [end - begin] of the codes
  };
  explicit RowQuantizer(DType scale_type) : scale_type_(scale_type) {}

  // Rows [begin, end) of `weight`, its fold included; `stored` is what weight.stored_rows() returned for
  // them. code = clamp(rint(weight / scale), -127, 127) with scale = symmetric_scale() of the row, so that
  // the error of the scale's rounding is not added. Throws: as row_scales().
  void quantize(const SourceTensor& weight, std::int64_t begin, std::int64_t end,
                std::span<const std::byte> stored, const Output& out);

 private:
  void quantize_rows(const SourceTensor& weight, const WeightRows& rows, std::int64_t begin,
                     const Output& out);

  DType scale_type_;
  AlignedBuffer<float> widened_;  // rows of a tensor with a fold
};

struct QuantizedWeight {
  Matrix<std::int8_t> codes;          // [out, in] in [-127, 127]; weight = code * scale
  std::vector<float> scale;           // [out] values of the stored type
  std::vector<std::int64_t> row_sum;  // [out] of the codes
};

// All rows, as RowQuantizer quantises them. Throws: as RowQuantizer, and as TensorSource::read().
QuantizedWeight quantize_weight(ThreadPool& pool, const SourceTensor& weight, DType scale_type);

// Sum over the rows of the squares of each column, [in]: how much an error of an input channel matters.
std::vector<double> column_energy(ThreadPool& pool, const SourceTensor& weight);

// A static input: code = clamp(rint(x / scale + offset), -128, 127).
struct StaticInput {
  float scale = 1.0F;
  float offset = 0.0F;  // an integer in [-128, 127]
};

// Asymmetric codes of [low, high], widened to hold 0: scale = (high - low) / 255, rounded to `type`.
StaticInput static_input(DType type, float low, float high);

// What a static linear stores besides its weight.
struct StaticTensors {
  std::vector<float> deq_scale;          // [out] input scale * weight scale, rounded to `type`
  std::vector<std::int32_t> quant_bias;  // [out] rint(bias / deq_scale - sum(codes) * offset)
};
//   bias [out] or empty
StaticTensors static_tensors(DType type, const QuantizedWeight& weight, const StaticInput& input,
                             const std::vector<float>& bias);

}  // namespace latent8
