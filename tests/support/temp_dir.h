#pragma once
// A folder that exists as long as this object, and short ways to put files into it.

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace latent8 {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "latent8-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create " + name);
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  std::filesystem::path write(std::string_view name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }
  // Copies every file of a folder (not its subfolders).
  void copy_from(const std::filesystem::path& dir) const {
    for (const auto& entry : std::filesystem::directory_iterator(dir))
      if (entry.is_regular_file()) {
        std::filesystem::copy_file(entry.path(), path_ / entry.path().filename());
        std::filesystem::permissions(path_ / entry.path().filename(), std::filesystem::perms::owner_write,
                                     std::filesystem::perm_options::add);
      }
  }

 private:
  std::filesystem::path path_;
};

// What a failing disk or memory does to a file.
inline void flip_bit(const std::filesystem::path& path, std::uintmax_t byte, int bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(byte));
  const auto flipped = static_cast<char>(file.get() ^ (1 << bit));
  file.seekp(static_cast<std::streamoff>(byte));
  file.put(flipped);
  if (!file) throw std::runtime_error("cannot change " + path.string());
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  std::string bytes(in ? static_cast<std::size_t>(in.tellg()) : 0, '\0');
  in.seekg(0).read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

}  // namespace latent8
