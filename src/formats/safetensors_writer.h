#pragma once
// Writing safetensors files of any size with little memory.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "formats/atomic_file.h"

namespace latent8 {

struct TensorToWrite {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::int64_t bytes() const;
};

struct SafetensorsWriterOptions {
  std::int64_t header_alignment = 64;           // the data starts at a multiple of this; the reference has 8
  std::map<std::string, std::string> metadata;  // "__metadata__"; left out if empty
};

// Orders tensors so that every one whose size is a multiple of 64 bytes (all int8 matrices of real models)
// starts at a multiple of 64 of the data, and every other at a multiple of its element size. Stable.
void order_for_alignment(std::vector<TensorToWrite>& tensors);

// The order of the safetensors library, which the reference uses: wider types first, then by name.
// Source: docs/format.md, "Shards and index".
void order_as_reference(std::vector<TensorToWrite>& tensors);

// What a file begins with: the header's length and the header. The tensors' bytes follow in the order given,
// without holes. Throws: Error{kInvalidArgument} beginning with `where` (a path) if it is longer than readers
// take.
std::string safetensors_header(const std::vector<TensorToWrite>& tensors,
                               const SafetensorsWriterOptions& options, const std::string& where);

// Writes the header at once and then the tensors' bytes, in pieces, in any order of tensors. The file has a
// temporary name until finish() and is removed if that is never called.
// REQUIRES: names differ, extents are not negative. Throws: Error{kIo} naming the path.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                    SafetensorsWriterOptions options = {});

  // The next bytes of tensor `name`. REQUIRES: the tensor was announced and has room for them.
  void append(std::string_view name, std::span<const std::byte> bytes);
  // Makes the file appear under its name, synced. REQUIRES: every tensor is complete.
  void finish();
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  struct Range {
    std::int64_t next, end;  // in the file
  };
  AtomicFile file_;
  std::map<std::string, Range, std::less<>> ranges_;
};

}  // namespace latent8
