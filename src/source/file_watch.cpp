#include "source/file_watch.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "base/error.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

void refuse_change(const fs::path& path, const std::string& what) {
  throw_error(ErrorCode::kIo,
              "'{}' changed while it was being read ({}); start again with a source that nobody writes to",
              path.string(), what);
}

FileWatch::State FileWatch::state_of(const fs::path& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) refuse_change(path, std::strerror(errno));
  return {status.st_size, nanoseconds(status.st_mtim), nanoseconds(status.st_ctim), status.st_ino};
}

FileWatch::FileWatch(const fs::path& dir) {
  std::error_code error;
  if (!fs::is_directory(dir, error))
    throw_error(
        error && error != std::errc::no_such_file_or_directory ? ErrorCode::kIo : ErrorCode::kNotFound,
        "'{}': a checkpoint folder expected, got none{}", dir.string(),
        error ? fmt::format(" ({})", error.message()) : "");
  // A folder that may not be entered has nothing that is read here.
  fs::recursive_directory_iterator it(dir, fs::directory_options::skip_permission_denied, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    // Hidden files are other programs', which may write to them.
    if (it->path().filename().string().starts_with('.')) {
      it.disable_recursion_pending();
      continue;
    }
    std::error_code none;  // a dangling link is no file
    if (it->is_regular_file(none)) files_.emplace(it->path(), state_of(it->path()));
  }
  if (error) throw_error(ErrorCode::kIo, "cannot list '{}': {}", dir.string(), error.message());
}

void FileWatch::check_unchanged() const {
  for (const auto& [path, then] : files_) {
    const State now = state_of(path);
    if (now.inode != then.inode) refuse_change(path, "another file has its name");
    if (now.bytes != then.bytes)
      refuse_change(path, fmt::format("from {} to {} bytes", then.bytes, now.bytes));
    if (now.modified_ns != then.modified_ns) refuse_change(path, "it was written to");
    if (now.changed_ns != then.changed_ns)
      refuse_change(path, "it was written to, or its owner, mode or links changed");
  }
}

}  // namespace latent8
