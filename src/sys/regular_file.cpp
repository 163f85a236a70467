#include "sys/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace latent8 {
namespace {

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

[[noreturn]] void fail(const std::filesystem::path& path, int error) {
  std::error_code none;
  const std::filesystem::path target = std::filesystem::read_symlink(path, none);
  if (error == ENOENT && !none)  // a folder of a hub's cache, copied without what its links name
    throw_error(
        ErrorCode::kNotFound,
        "'{}': a symbolic link to '{}', where there is no file; copy what links name (cp -L), or fetch "
        "the file again",
        path.string(), target.string());
  throw_error(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "cannot open '{}': {}", path.string(),
              std::strerror(error));
}

void check_kind(const std::filesystem::path& path, const struct stat& status) {
  if (!S_ISREG(status.st_mode))
    throw_error(ErrorCode::kIo, "cannot read '{}': a regular file expected, got {}", path.string(),
                kind_of(status.st_mode));
}

}  // namespace

// Looked at twice: opening a device can have effects of its own, and the name may show another file by then.
FileDescriptor open_regular_file(const std::filesystem::path& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) fail(path, errno);
  check_kind(path, status);
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0 || fstat(file.get(), &status) != 0) fail(path, errno);
  check_kind(path, status);
  return file;
}

}  // namespace latent8
