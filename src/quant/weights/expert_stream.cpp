#include "quant/weights/expert_stream.h"

#include <algorithm>
#include <vector>

#include "quant/weights/weight_quantizer.h"
#include "sys/parallel.h"

namespace latent8 {
namespace {

struct RowRange {
  std::size_t tensor;
  std::int64_t begin, end;
};

std::vector<RowRange> cut(std::span<const SourceTensor> tensors, std::int64_t piece_bytes) {
  std::vector<RowRange> pieces;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const std::int64_t bytes = std::max<std::int64_t>(tensors[t].row_bytes(), 1);
    const std::int64_t unit = tensors[t].row_unit();
    const std::int64_t rows = std::max<std::int64_t>(piece_bytes / bytes / unit, 1) * unit;
    for (std::int64_t row = 0; row < tensors[t].rows(); row += rows)
      pieces.push_back({t, row, std::min(row + rows, tensors[t].rows())});
  }
  return pieces;
}

// What a worker needs for a piece; grows to the largest.
struct Buffers {
  AlignedBuffer<std::byte> stored;
  AlignedBuffer<std::int8_t> codes;
  std::vector<float> scale;
  std::vector<std::int32_t> row_sum;
  RowQuantizer quantizer;

  QuantizedRows quantize(const SourceTensor& tensor, const RowRange& piece) {
    const std::int64_t count = piece.end - piece.begin, size = count * tensor.cols();
    const auto rows = static_cast<std::size_t>(count);
    if (codes.size() < size) codes = AlignedBuffer<std::int8_t>(size);
    scale.resize(std::max(scale.size(), rows));
    row_sum.resize(std::max(row_sum.size(), rows));
    const auto bytes = tensor.stored_rows(piece.begin, piece.end, stored);
    quantizer.quantize(tensor, piece.begin, piece.end, bytes, {codes.data(), scale.data(), row_sum.data()});
    return {piece.begin, count, codes.span().first(static_cast<std::size_t>(size)),
            std::span(scale).first(rows), std::span(row_sum).first(rows)};
  }
};

}  // namespace

void stream_weights(ThreadPool& pool, std::span<const SourceTensor> tensors, DType scale_type,
                    const RowSink& sink, std::int64_t piece_bytes) {
  const std::vector<RowRange> pieces = cut(tensors, piece_bytes);
  std::vector<Buffers> buffers;
  for (int i = 0; i < pool.threads(); ++i)
    buffers.push_back(
        {.stored = {}, .codes = {}, .scale = {}, .row_sum = {}, .quantizer = RowQuantizer(scale_type)});
  parallel_for_or_throw(pool, static_cast<std::int64_t>(pieces.size()), 1,
                        [&](std::int64_t i, std::int64_t, int worker) {
                          const RowRange& piece = pieces[static_cast<std::size_t>(i)];
                          Buffers& own = buffers[static_cast<std::size_t>(worker)];
                          sink(piece.tensor, own.quantize(tensors[piece.tensor], piece));
                        });
}

}  // namespace latent8
