#pragma once
// Weights through the row quantiser in pieces that fit a core's cache: read, quantise, hand over.

#include <cstdint>
#include <functional>
#include <span>

#include "base/dtype.h"
#include "source/source_tensor.h"
#include "sys/thread_pool.h"

namespace latent8 {

// Stored bytes of a piece: with its codes it fits a second-level cache of 1 MiB.
inline constexpr std::int64_t kStreamPieceBytes = 256 << 10;

// Quantised rows [row, row + count) of a tensor. Views that are valid until the sink returns.
struct QuantizedRows {
  std::int64_t row = 0, count = 0;
  std::span<const std::int8_t> codes;     // [count, cols] in [-127, 127]; weight = code * scale
  std::span<const float> scale;           // [count] values of the scales' type
  std::span<const std::int32_t> row_sum;  // [count] of the codes
};

// Takes rows of tensors[tensor]. Called on the pool's threads, several at once, pieces in any order; may
// throw.
using RowSink = std::function<void(std::size_t tensor, const QuantizedRows& rows)>;

// Every row of every tensor, once. What is quantised does not depend on threads or pieces.
// Throws: Error{kCorrupt} naming a tensor and a row with NaN or Inf, what TensorSource::read() throws, and
// what the sink throws; pieces after it may then be missing.
void stream_weights(ThreadPool& pool, std::span<const SourceTensor> tensors, DType scale_type,
                    const RowSink& sink, std::int64_t piece_bytes = kStreamPieceBytes);

}  // namespace latent8
