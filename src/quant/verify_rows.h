#pragma once
// Rows of a stored tensor as float32, whatever its form is.

#include <cstdint>
#include <optional>
#include <vector>

#include "formats/checkpoint.h"
#include "quant/verify_folder.h"
#include "quant/verify_layout.h"

namespace latent8 {

// A vector counts as one row. Ownership: a view of the files. Thread-safety: const.
class StoredRows {
 public:
  // Of a quantised checkpoint. Nothing if the tensor or its scale is missing, or of another shape or type
  // than the module has: that is a problem that was reported already. fp8 is not read: it is only ever
  // copied.
  static std::optional<StoredRows> open(const VerifyFolder& folder, const ExpectedModule& module);
  // Of the float checkpoint; nothing if it has no such tensor. Throws: Error naming the tensor if its shape
  // is not the module's, its type holds no floats, or its fp8 block scales are not right.
  static std::optional<StoredRows> open(const Checkpoint& source, const ExpectedModule& module);

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  bool int8() const { return view_->dtype == DType::kI8; }
  float scale(std::int64_t row) const { return scale_[static_cast<std::size_t>(row)]; }  // REQUIRES: int8()
  void read_row(std::int64_t row, float* out) const;                                     // out [cols]

 private:
  const TensorView* view_ = nullptr;
  std::int64_t rows_ = 0, cols_ = 0;
  std::vector<float> scale_;  // [rows] of int8 codes, [ceil(rows / 128), ceil(cols / 128)] of fp8, else empty
};

}  // namespace latent8
