#pragma once
// Owning memory, 64-byte aligned (a cache line, a ZMM register); large buffers are advised to huge pages.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "base/views.h"

namespace latent8 {

// From this size on a buffer starts on a huge page and is mapped on its own.
inline constexpr std::int64_t kHugePageBytes = std::int64_t{2} << 20;

// Zeroed; throws std::bad_alloc. From 2 MiB on the pages appear when they are first written, near the thread
// that writes them, so a large cache costs nothing before it is used.
void* aligned_allocate(std::size_t bytes);
void aligned_free(void* p, std::size_t bytes) noexcept;  // bytes: as allocated

template <class T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::int64_t size)
      : data_(size > 0 ? static_cast<T*>(aligned_allocate(bytes_of(size))) : nullptr, Free{bytes_of(size)}),
        size_(size) {}

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::int64_t size() const { return size_; }
  T& operator[](std::int64_t i) { return data_.get()[i]; }
  const T& operator[](std::int64_t i) const { return data_.get()[i]; }
  std::span<T> span() { return {data_.get(), static_cast<std::size_t>(size_)}; }
  std::span<const T> span() const { return {data_.get(), static_cast<std::size_t>(size_)}; }

 private:
  static std::size_t bytes_of(std::int64_t size) { return static_cast<std::size_t>(size) * sizeof(T); }
  struct Free {
    std::size_t bytes = 0;
    void operator()(T* p) const noexcept { aligned_free(p, bytes); }
  };
  std::unique_ptr<T, Free> data_;
  std::int64_t size_ = 0;
};

// An owned, dense row-major matrix.
template <class T>
class Matrix {
 public:
  Matrix() = default;
  Matrix(std::int64_t rows, std::int64_t cols) : buffer_(rows * cols), rows_(rows), cols_(cols) {}
  Mat<T> view() { return {buffer_.data(), rows_, cols_}; }
  ConstMat<T> view() const { return {buffer_.data(), rows_, cols_}; }
  T* row(std::int64_t r) { return view().row(r); }
  const T* row(std::int64_t r) const { return view().row(r); }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }

 private:
  AlignedBuffer<T> buffer_;
  std::int64_t rows_ = 0, cols_ = 0;
};

}  // namespace latent8
