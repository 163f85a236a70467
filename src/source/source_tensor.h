#pragma once
// A float tensor of the source checkpoint, read by rows, as stored or as float32 whatever its stored form is.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "formats/checkpoint.h"
#include "kernels/weight_rows.h"
#include "source/tensor_source.h"

namespace latent8 {

// Factors that a weight is multiplied by while it is read: ((stored * block scale) * row) * col, every
// product rounded to float32. Views, which must outlive the tensor.
struct WeightFold {
  std::span<const float> row;  // [rows], empty: 1
  std::span<const float> col;  // [cols], empty: 1
  bool empty() const { return row.empty() && col.empty(); }
};

// A vector counts as one row. Thread-safety: const. Ownership: a view of the checkpoint (or the source),
// which must outlive it; owns the block scales.
class SourceTensor {
 public:
  // The bytes are read where they lie in memory: a mapped file, or Checkpoint::of_tensors().
  // Throws: Error naming the tensor if it is missing, of an element type that holds no floats, of fp8 without
  // block scales `name`_scale_inv (float32, bfloat16, ... or powers of two as F8_E8M0) of the right shape, or
  // if one of those is not finite.
  // REQUIRES: the fold has the tensor's extents.
  SourceTensor(const Checkpoint& checkpoint, const std::string& name, WeightFold fold = {});
  // The bytes are read when they are asked for. Throws: as above, and as TensorSource::read().
  SourceTensor(const TensorSource& source, const std::string& name, WeightFold fold = {});

  const std::string& name() const { return name_; }
  DType dtype() const { return view_->dtype; }
  const TensorView& view() const { return *view_; }  // with a TensorSource, its bytes are not to be touched
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  std::int64_t row_bytes() const { return cols_ * size_of(dtype()); }
  std::int64_t row_unit() const { return source_ == nullptr ? 1 : source_->row_unit(name_); }
  const WeightFold& fold() const { return fold_; }

  // Rows [begin, end) as stored: where they lie in memory, or read into `buffer`, which grows as needed.
  // Throws: as TensorSource::read().
  std::span<const std::byte> stored_rows(std::int64_t begin, std::int64_t end,
                                         AlignedBuffer<std::byte>& buffer) const;
  // The same rows for a kernel, the fold included: `stored` is what stored_rows() returned.
  WeightRows weight_rows(std::int64_t begin, std::int64_t end, std::span<const std::byte> stored) const;

  // Rows [begin, end) as float32, out [end - begin, cols]. Throws: as TensorSource::read().
  void read_rows(std::int64_t begin, std::int64_t end, float* out) const;
  void read_row(std::int64_t row, float* out) const { read_rows(row, row + 1, out); }

 private:
  SourceTensor(const Checkpoint& checkpoint, const TensorSource* source, const std::string& name,
               WeightFold fold);
  void read_block_scales(const Checkpoint& checkpoint);

  std::string name_;
  const TensorSource* source_;  // nullptr: the view's bytes are in memory
  const TensorView* view_;
  WeightFold fold_;
  std::int64_t rows_ = 0, cols_ = 0;
  std::vector<float> block_scale_;  // fp8: [ceil(rows / 128), ceil(cols / 128)]
};

// Names of the fp8 block scales end like this, after the name of their tensor.
inline constexpr const char* kBlockScaleSuffix = "_scale_inv";

}  // namespace latent8
