#include "quant/output/state_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"

namespace latent8 {
namespace {

std::string checksum_line(std::string_view text) {
  return fmt::format("xxh3 {:016x}\n", checksum(std::as_bytes(std::span(text))));
}

}  // namespace

StateFile::StateFile(std::filesystem::path path, int flags) : path_(std::move(path)) {
  fd_ = FileDescriptor(::open(path_.c_str(), O_RDWR | O_CLOEXEC | flags, 0644));
  if (fd_.get() < 0 && errno == ENOENT && (flags & O_CREAT) == 0)
    throw_error(ErrorCode::kCorrupt,
                "'{}': a file of an interrupted run expected, got none; start afresh (latent8 quantize "
                "--no-resume, or remove the unfinished folder)",
                path_.string());
  if (fd_.get() < 0) fail("open", errno);
}

StateFile StateFile::create(const std::filesystem::path& path, std::int64_t size) {
  StateFile file(path, O_CREAT);
  // ftruncate first: fallocate alone would leave a longer file of an earlier run as it is.
  if (ftruncate(file.fd_.get(), size) != 0) file.fail("make room in", errno);
  if (size > 0 && fallocate(file.fd_.get(), 0, 0, size) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
    file.fail("make room in", errno);
  return file;
}

StateFile StateFile::open(const std::filesystem::path& path, std::int64_t size) {
  StateFile file(path, 0);
  struct stat info{};
  if (fstat(file.fd_.get(), &info) != 0) file.fail("read", errno);
  if (info.st_size != size)
    throw_error(ErrorCode::kCorrupt,
                "'{}': {} bytes of an interrupted run expected, got {}; start afresh (latent8 quantize "
                "--no-resume, or remove the unfinished folder)",
                path.string(), size, info.st_size);
  return file;
}

void StateFile::fail(const char* action, int error) const {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  throw_error(
      ErrorCode::kIo, "cannot {} '{}': {}{}", action, path_.string(), std::strerror(error),
      full ? "; make room and run the same command again: it goes on with the first unfinished layer" : "");
}

void StateFile::write_at(std::int64_t offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_.get(), bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("write", written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
}

void StateFile::read_at(std::int64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = pread(fd_.get(), bytes.data(), bytes.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", errno);
    if (got == 0)
      throw_error(ErrorCode::kIo, "cannot read '{}': it ends at byte {}; did another program shorten it?",
                  path_.string(), offset);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

void StateFile::sync() const {
  if (fdatasync(fd_.get()) != 0) fail("sync", errno);
}

void write_state_text(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, std::string(text) + checksum_line(text));
}

std::string read_state_text(const std::filesystem::path& path) {
  std::string text = std::filesystem::exists(path) ? read_text_file(path) : "";
  const std::size_t size = checksum_line("").size();
  if (text.size() >= size) {
    const std::string last = text.substr(text.size() - size);
    text.resize(text.size() - size);
    if (last == checksum_line(text)) return text;
  }
  throw_error(ErrorCode::kCorrupt,
              "'{}': the state of an interrupted run is missing or damaged; start afresh (latent8 quantize "
              "--no-resume, or remove the unfinished folder)",
              path.string());
}

}  // namespace latent8
