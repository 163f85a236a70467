#pragma once
// SHA256SUMS: the checksum of every file of a folder, as coreutils' sha256sum writes and checks it.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sys/thread_pool.h"

namespace latent8 {

inline constexpr const char* kSumsFile = "SHA256SUMS";

// SHA-256 of bytes that come in pieces. Source: FIPS 180-4; computed by OpenSSL's libcrypto.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void add(std::span<const std::byte> bytes);
  std::string hex();  // 64 digits, lower case. REQUIRES: called once, after the last add()

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Throws: Error{kNotFound | kIo} naming the path.
std::string sha256_of_file(const std::filesystem::path& path);

struct FileSum {
  std::string name;  // below the folder, with '/' between parts
  std::string sha256;
};

// "HEX  NAME" per line; names with a newline or a backslash are escaped as sha256sum does it.
std::string sha256sums_text(const std::vector<FileSum>& sums);
// The strict form that sha256sums_text() writes: lower case, text mode, names that stay below the folder and
// differ. Throws: Error{kCorrupt} with `where` and the line.
std::vector<FileSum> parse_sha256sums(std::string_view text, const std::string& where);

// Regular files below `dir`, without SHA256SUMS itself and temporary files; sorted. Throws: Error{kIo}.
std::vector<std::string> files_below(const std::filesystem::path& dir);

// One file of SHA256SUMS that is not what it was.
struct SumProblem {
  std::string name, expected, got;
};
// Reads every file that DIR/SHA256SUMS names, several at a time; what is damaged, missing or unreadable is in
// the result, in the order of the list. `progress` is told the bytes read, between files and on the calling
// thread, and may throw. Throws: Error{kNotFound} without the list, {kCorrupt} for one that cannot be read.
using SumProgress = std::function<void(std::int64_t bytes, std::int64_t total)>;
std::vector<SumProblem> check_sha256sums(const std::filesystem::path& dir, ThreadPool& pool,
                                         const SumProgress& progress = {});
// The same for those who cannot go on with a damaged file. Throws: Error{kCorrupt} naming the first one.
void require_sha256sums(const std::filesystem::path& dir, ThreadPool& pool, const SumProgress& progress = {});

}  // namespace latent8
