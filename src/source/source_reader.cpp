#include "source/source_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "sys/regular_file.h"

namespace latent8 {
namespace {

std::int64_t modified_ns(const struct stat& status) {
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

[[noreturn]] void refuse_change(const std::filesystem::path& path, const std::string& what) {
  throw_error(ErrorCode::kIo,
              "'{}' changed while it was being read ({}); start again with a source that nobody writes to",
              path.string(), what);
}

}  // namespace

SourceReader::SourceReader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {
  LATENT8_CHECK(!checkpoint.files().empty());
  for (const SafetensorsFile& mapped : checkpoint.files()) {
    const std::string path = mapped.path().string();
    FileDescriptor file = open_regular_file(mapped.path());
    struct stat status{};
    if (fstat(file.get(), &status) != 0)
      throw_error(ErrorCode::kIo, "cannot read '{}': {}", path, std::strerror(errno));
    if (static_cast<std::size_t>(status.st_size) != mapped.bytes().size())
      refuse_change(path, fmt::format("{} bytes expected, got {}", mapped.bytes().size(), status.st_size));
    shards_.push_back({std::move(file), status.st_size, modified_ns(status), status.st_ino});
  }
}

void SourceReader::read(std::string_view name, std::int64_t offset, std::span<std::byte> out) const {
  const TensorPlace place = checkpoint_.place_of(name);
  LATENT8_CHECK(offset >= 0 &&
                offset + static_cast<std::int64_t>(out.size()) <= checkpoint_.get(name).size_bytes());
  std::int64_t at = place.offset + offset;
  while (!out.empty()) {
    const ssize_t got = pread(shards_[place.file].file.get(), out.data(), out.size(), at);
    if (got < 0 && errno == EINTR) continue;
    const std::filesystem::path& path = checkpoint_.files()[place.file].path();
    if (got < 0)
      throw_error(ErrorCode::kIo, "cannot read '{}' at byte {}: {}", path.string(), at, std::strerror(errno));
    if (got == 0) refuse_change(path, fmt::format("it ends at byte {} already", at));
    out = out.subspan(static_cast<std::size_t>(got));
    at += got;
  }
}

void SourceReader::prefetch(std::string_view name) const {
  const TensorPlace place = checkpoint_.place_of(name);
  // Only advice: where it fails, read() is slower.
  static_cast<void>(posix_fadvise(shards_[place.file].file.get(), place.offset,
                                  checkpoint_.get(name).size_bytes(), POSIX_FADV_WILLNEED));
}

void SourceReader::check_unchanged() const {
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const std::filesystem::path& path = checkpoint_.files()[i].path();
    struct stat status{};
    if (stat(path.c_str(), &status) != 0) refuse_change(path, std::strerror(errno));
    if (status.st_ino != shards_[i].inode) refuse_change(path, "another file has its name");
    if (status.st_size != shards_[i].bytes)
      refuse_change(path, fmt::format("from {} to {} bytes", shards_[i].bytes, status.st_size));
    if (modified_ns(status) != shards_[i].modified_ns) refuse_change(path, "it was written to");
  }
}

std::uint64_t SourceReader::fingerprint() const {
  std::vector<std::size_t> order(shards_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto& files = checkpoint_.files();
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return files[a].path() < files[b].path(); });
  Fingerprint all;
  for (const std::size_t i : order) {
    all.add(files[i].path().filename().string());
    all.add_number(static_cast<std::uint64_t>(shards_[i].bytes));
    all.add_number(static_cast<std::uint64_t>(shards_[i].modified_ns));
    all.add(files[i].header());
  }
  return all.value();
}

}  // namespace latent8
