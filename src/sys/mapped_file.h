#pragma once
// A file mapped read-only into memory.

#include <cstddef>
#include <filesystem>
#include <span>

namespace latent8 {

// Ownership: unmaps on destruction; views of bytes() must not outlive it. Movable.
// A file that is truncated by somebody else while mapped would raise SIGBUS at the next access: every
// MappedFile is registered, and the handler (installed with the first one) prints an error naming the file
// and exits with status 1.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws: Error{kNotFound | kIo} naming the path.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::span<const std::byte> bytes_;
  std::filesystem::path path_;
};

}  // namespace latent8
