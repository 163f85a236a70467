#pragma once
// Safetensors files: 8 bytes little-endian header length, a JSON header, the tensors' bytes without holes.
// Source: the format description in the safetensors project's README; limits as in its Rust implementation.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "sys/mapped_file.h"

namespace latent8 {

inline constexpr std::int64_t kMaxSafetensorsHeaderBytes = 100'000'000;

// A tensor that lies in a mapped file, row-major. `bytes` is aligned to nothing in particular.
struct TensorView {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;   // every extent >= 0; empty for a scalar
  std::span<const std::byte> bytes;  // size_bytes() of them
  std::int64_t elements() const;
  std::int64_t size_bytes() const { return elements() * size_of(dtype); }
  std::string shape_text() const;  // "[256, 7168]"
};

using TensorMap = std::map<std::string, TensorView, std::less<>>;

// The tensors of a whole file's bytes. Every length, offset and product of the header is checked; the tensors
// must cover the data exactly. `where` (a path) begins every message.
// Throws: Error{kCorrupt} saying what is wrong, {kUnsupported} naming an element type that latent8 does not
// know.
TensorMap parse_safetensors_header(std::span<const std::byte> file, const std::string& where = "safetensors");

// A mapped file and its tensors. Ownership: views of tensors() live as long as this object; moving keeps
// them.
class SafetensorsFile {
 public:
  // Throws: Error{kNotFound | kIo} naming the path, and as parse_safetensors_header.
  explicit SafetensorsFile(const std::filesystem::path& path);
  const TensorMap& tensors() const { return tensors_; }
  const std::filesystem::path& path() const { return file_.path(); }
  std::span<const std::byte> bytes() const { return file_.bytes(); }  // the whole file
  // Its length and its JSON header, before the tensors' bytes.
  std::span<const std::byte> header() const;

 private:
  MappedFile file_;
  TensorMap tensors_;
};

}  // namespace latent8
