#include "formats/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"
#include "sys/file_descriptor.h"
#include "sys/mapped_file.h"

namespace latent8 {

std::string read_text_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void for_each_chunk(const std::filesystem::path& path,
                    const std::function<void(std::int64_t offset, std::span<const std::byte> bytes)>& visit) {
  constexpr std::size_t kChunk = std::size_t{1} << 20;
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO blocks nobody
  if (file.get() < 0)
    throw_error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "cannot open '{}': {}",
                path.string(), std::strerror(errno));
  if (!std::filesystem::is_regular_file(path))
    throw_error(ErrorCode::kIo, "cannot read '{}': a regular file is expected", path.string());
  std::vector<std::byte> chunk(kChunk);
  for (std::int64_t offset = 0;;) {
    const ssize_t got = pread(file.get(), chunk.data(), chunk.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw_error(ErrorCode::kIo, "cannot read '{}' at byte {}: {}", path.string(), offset,
                  std::strerror(errno));
    if (got == 0) return;
    visit(offset, std::span(chunk).first(static_cast<std::size_t>(got)));
    offset += got;
  }
}

bool is_named(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::symlink_status(path, error).type() != std::filesystem::file_type::not_found;
}

std::vector<std::string> list_folder(const std::filesystem::path& dir) {
  std::error_code error;
  if (!std::filesystem::is_directory(dir, error) && (!error || error == std::errc::no_such_file_or_directory))
    throw_error(ErrorCode::kNotFound, "'{}': a folder expected, but there is no such folder", dir.string());
  std::vector<std::string> names;
  std::filesystem::directory_iterator it(dir, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error))
    names.push_back(it->path().filename().string());
  if (error) throw_error(ErrorCode::kIo, "cannot list '{}': {}", dir.string(), error.message());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace latent8
