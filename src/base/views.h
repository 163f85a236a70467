#pragma once
// Non-owning views. A view never outlives what it looks at; const views are cheap to copy.

#include <cstdint>
#include <span>
#include <type_traits>

#include "base/check.h"

namespace latent8 {

// A row-major matrix whose rows lie row_stride elements apart.
template <class T>
struct Mat {
  T* data = nullptr;  // [rows, cols]
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;  // in elements, >= cols

  Mat() = default;
  Mat(T* d, std::int64_t r, std::int64_t c) : data(d), rows(r), cols(c), row_stride(c) {}
  Mat(T* d, std::int64_t r, std::int64_t c, std::int64_t stride)
      : data(d), rows(r), cols(c), row_stride(stride) {}
  template <class U>
    requires(std::is_const_v<T> && std::is_same_v<std::remove_const_t<T>, U>)
  Mat(const Mat<U>&
          other)  // NOLINT(google-explicit-constructor): Mat<T> is usable where Mat<const T> is read
      : data(other.data), rows(other.rows), cols(other.cols), row_stride(other.row_stride) {}

  T* row(std::int64_t r) const {
    LATENT8_DCHECK(r >= 0 && r < rows);
    return data + r * row_stride;
  }
  std::span<T> row_span(std::int64_t r) const { return {row(r), static_cast<std::size_t>(cols)}; }
  Mat row_range(std::int64_t begin, std::int64_t end) const {
    LATENT8_DCHECK(begin >= 0 && begin <= end && end <= rows);
    return {data + begin * row_stride, end - begin, cols, row_stride};
  }
  Mat col_range(std::int64_t begin, std::int64_t end) const {
    LATENT8_DCHECK(begin >= 0 && begin <= end && end <= cols);
    return {data + begin, rows, end - begin, row_stride};
  }
};

template <class T>
using ConstMat = Mat<const T>;

}  // namespace latent8
