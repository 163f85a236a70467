#pragma once
// Memory of a matrix that every call shapes anew.

#include <algorithm>
#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/views.h"

namespace latent8 {

// Allocates only when a shape needs more elements than any before, and then twice as many at least: pages that are
// never written cost nothing, and a step that follows a larger one finds its memory.
class WorkMatrix {
 public:
  // Values are undefined.
  Mat<float> reshape(std::int64_t rows, std::int64_t cols) {
    if (rows * cols > buffer_.size()) buffer_ = AlignedBuffer<float>(std::max(rows * cols, 2 * buffer_.size()));
    rows_ = rows;
    cols_ = cols;
    return view();
  }
  // Of the last shape.
  Mat<float> view() { return {buffer_.data(), rows_, cols_}; }
  ConstMat<float> view() const { return {buffer_.data(), rows_, cols_}; }
  std::int64_t capacity() const { return buffer_.size(); }  // in elements

 private:
  AlignedBuffer<float> buffer_;
  std::int64_t rows_ = 0, cols_ = 0;
};

}  // namespace latent8
