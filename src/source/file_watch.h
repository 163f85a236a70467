#pragma once
// Notices that somebody writes to a folder that is being read.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace latent8 {

// Remembers the size, modification time, change time and inode of every file of a folder and of its
// subfolders: configuration, tokenizer and templates as well as weights. Hidden ones are left out.
class FileWatch {
 public:
  // Throws: Error{kNotFound | kIo} naming the folder.
  explicit FileWatch(const std::filesystem::path& dir);

  // Throws: Error{kIo} naming the first file that is not what it was when this object was made. Files that
  // were added are nobody's business.
  void check_unchanged() const;

 private:
  struct State {
    std::int64_t bytes = 0, modified_ns = 0, changed_ns = 0;
    std::uint64_t inode = 0;
  };
  static State state_of(const std::filesystem::path& path);
  std::map<std::filesystem::path, State> files_;
};

// Throws: Error{kIo}: "PATH changed while it was being read (WHAT)".
[[noreturn]] void refuse_change(const std::filesystem::path& path, const std::string& what);

}  // namespace latent8
