#pragma once
// Where the quantiser reads float tensors: a checkpoint's files, or another form of the same model that is
// computed while it is read.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "formats/checkpoint.h"

namespace latent8 {

// Thread-safety: const.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // Names, types and shapes as they are read. Bytes of its views are not to be touched; there may be none.
  virtual const Checkpoint& checkpoint() const = 0;
  // The files behind it.
  virtual const Checkpoint& stored() const = 0;

  // Bytes [offset, offset + out.size()) of tensor `name`. REQUIRES: the tensor has them. Throws:
  // Error{kNotFound} for an unknown name, {kIo} naming the file if it became shorter or its disk failed.
  virtual void read(std::string_view name, std::int64_t offset, std::span<std::byte> out) const = 0;
  // Lets the operating system start reading what read() will want of the tensor soon.
  virtual void prefetch(std::string_view name) const = 0;
  // Rows of the tensor that are computed together: reading part of them costs as much as reading all.
  virtual std::int64_t row_unit(std::string_view name) const = 0;
};

}  // namespace latent8
