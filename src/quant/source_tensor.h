#pragma once
// A float tensor of the source checkpoint, read row by row as float32 whatever its stored form is.

#include <cstdint>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "formats/checkpoint.h"

namespace latent8 {

// A vector counts as one row. Ownership: a view of the checkpoint, which must outlive it.
// Thread-safety: const.
class SourceTensor {
 public:
  // Throws: Error naming the tensor if it is missing, of an element type that holds no floats, or of fp8
  // without block scales `name`_scale_inv of the right shape.
  SourceTensor(const Checkpoint& checkpoint, const std::string& name);

  const std::string& name() const { return name_; }
  const TensorView& view() const { return *view_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  void read_row(std::int64_t row, float* out) const;  // out [cols]

 private:
  std::string name_;
  const TensorView* view_;
  std::int64_t rows_, cols_;
  AlignedBuffer<float> block_scale_;  // fp8: [ceil(rows / 128), ceil(cols / 128)]
};

// Names of the fp8 block scales end like this, after the name of their tensor.
inline constexpr const char* kBlockScaleSuffix = "_scale_inv";

}  // namespace latent8
