#pragma once
// Files that are written in place, at offsets known from the start, and stay when the process dies.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "sys/file_descriptor.h"

namespace latent8 {

// Thread-safety: reads and writes of different ranges may run at the same time.
// Every function throws Error{kIo} naming the path and what to do.
class StateFile {
 public:
  // A file of `size` bytes of content unknown; its room on the disk is reserved where the file system can, so
  // that a full disk shows here and not hours later.
  static StateFile create(const std::filesystem::path& path, std::int64_t size);
  // An existing file of `size` bytes. Throws: Error{kCorrupt} if it is missing or of another size.
  static StateFile open(const std::filesystem::path& path, std::int64_t size);

  void write_at(std::int64_t offset, std::span<const std::byte> bytes) const;
  void read_at(std::int64_t offset, std::span<std::byte> bytes) const;
  void sync() const;  // what was written is on the disk
  int descriptor() const { return fd_.get(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  StateFile(std::filesystem::path path, int flags);
  [[noreturn]] void fail(const char* action, int error) const;
  std::filesystem::path path_;
  FileDescriptor fd_;
};

// A small text of an unfinished result: appears complete or not at all, with a checksum in its last line.
void write_state_text(const std::filesystem::path& path, std::string_view text);
// Throws: Error{kCorrupt} if the file is missing or is not what was written.
std::string read_state_text(const std::filesystem::path& path);

}  // namespace latent8
