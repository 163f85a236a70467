#pragma once
// Rows of a stored tensor or of the source's as float32, whatever their form is.

#include <cstdint>
#include <optional>
#include <vector>

#include "source/source_tensor.h"
#include "verify/folder.h"
#include "verify/layout.h"

namespace latent8 {

// A vector counts as one row. Ownership: a view of the files. Thread-safety: none.
class StoredRows {
 public:
  // Of a quantised checkpoint. Nothing if the tensor or its scale is missing, or of another shape or type
  // than the module has: that is a problem that was reported already. fp8 is not read: it is only ever
  // copied.
  static std::optional<StoredRows> open(const VerifyFolder& folder, const ExpectedModule& module);
  // Of the float checkpoint; nothing if it has no such tensor. Throws: Error naming the tensor if its shape
  // is not the module's, and as SourceTensor.
  static std::optional<StoredRows> open(const TensorSource& source, const ExpectedModule& module);

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  bool int8() const { return !source_ && view_->dtype == DType::kI8; }
  float scale(std::int64_t row) const { return scale_[static_cast<std::size_t>(row)]; }  // REQUIRES: int8()
  void read_row(std::int64_t row, float* out);                                           // out [cols]

 private:
  const TensorView* view_ = nullptr;
  std::int64_t rows_ = 0, cols_ = 0;
  std::vector<float> scale_;            // [rows] of int8 codes, else empty
  std::optional<SourceTensor> source_;  // of which some rows are read at a time
  std::vector<float> read_;             // rows [first_, ...) of it
  std::int64_t first_ = 0;
};

}  // namespace latent8
