#pragma once
// Tensors of the source in memory, which may be changed before they are quantised.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "formats/checkpoint.h"
#include "source/tensor_source.h"

namespace latent8 {

// Owns a copy of every tensor in its stored form, or float32 where replace() gave it other values. Model code
// and the quantiser see them as a checkpoint. Thread-safety: const methods.
class WorkingLayer {
 public:
  explicit WorkingLayer(const ModelConfig& config) : config_(config) {}

  // Reads tensors of the source; those already here are left as they are. Throws: as TensorSource::read().
  void read(const TensorSource& source, std::span<const std::string> names);
  // Takes the place of the tensor's values, as float32 of the same shape; fp8 block scales are dropped.
  // REQUIRES: the tensor is here, values.size() is its number of elements.
  void replace(const std::string& name, std::span<const float> values);
  void drop(std::span<const std::string> names);

  bool has(std::string_view name) const { return tensors_.contains(name); }
  // The tensor widened to float32, fp8 block scales applied: [rows, cols]; a vector has one row.
  Matrix<float> values(const std::string& name) const;
  std::int64_t bytes() const;

  // A view of the tensors. Valid until the next change of this object.
  Checkpoint checkpoint() const;

 private:
  // Tensors that are read together share one block: memory that comes and goes in few large pieces does not
  // stay with the allocator. It goes with the last of them, hence shared_ptr.
  using Block = std::shared_ptr<AlignedBuffer<std::byte>>;
  struct Tensor {
    DType dtype = DType::kF32;
    std::vector<std::int64_t> shape;
    Block block;
    std::span<std::byte> bytes;
  };
  const ModelConfig& config_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

}  // namespace latent8
