#pragma once
// Files that appear complete or not at all: written under a temporary name, synced, renamed.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace latent8 {

// A file under the name "<path>.tmp-<pid>" until commit(). Destroyed without commit(), it is removed.
// Every function throws Error{kIo} naming the path if the disk is full or the write fails.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write_at(std::int64_t offset, std::span<const std::byte> bytes);
  void commit();  // fsync, rename to path, fsync of the folder
  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void fail(const char* action, int error) const;
  std::filesystem::path path_, temporary_path_;
  int fd_ = -1;
};

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace latent8
