#pragma once
// Reads tensors of a checkpoint's files with pread: bytes go into memory of the caller, so that resident
// memory is what the caller holds and not what was ever touched.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"
#include "source/tensor_source.h"
#include "sys/file_descriptor.h"

namespace latent8 {

// Ownership: a view of the checkpoint, which must outlive it; owns a file descriptor per shard.
class SourceReader final : public TensorSource {
 public:
  // Throws: Error{kNotFound | kIo} naming the file; {kIo} if it is not the one that the checkpoint mapped.
  // REQUIRES: `checkpoint` was opened from a folder.
  explicit SourceReader(const Checkpoint& checkpoint);

  const Checkpoint& checkpoint() const override { return checkpoint_; }
  const Checkpoint& stored() const override { return checkpoint_; }
  void read(std::string_view name, std::int64_t offset, std::span<std::byte> out) const override;
  void prefetch(std::string_view name) const override;
  std::int64_t row_unit(std::string_view /*name*/) const override { return 1; }

  // Of the names, sizes, modification times and headers of the files in the order of their names: differs if
  // the source does.
  std::uint64_t fingerprint() const;

 private:
  struct Shard {
    FileDescriptor file;
    std::int64_t bytes = 0, modified_ns = 0;
  };
  const Checkpoint& checkpoint_;
  std::vector<Shard> shards_;  // in the order of checkpoint_.files()
};

}  // namespace latent8
