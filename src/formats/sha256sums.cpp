#include "formats/sha256sums.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "formats/files.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHexDigits = 64;

std::string escaped(const std::string& name) {
  std::string out;
  for (const char c : name) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

// The name of a line that begins with a backslash; "" if its escapes are none of ours.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size() || (text[i] != '\\' && text[i] != 'n')) return "";
    out += text[i] == 'n' ? '\n' : '\\';
  }
  return out;
}

bool stays_below(const fs::path& name) {
  if (name.empty() || name.is_absolute()) return false;
  return std::none_of(name.begin(), name.end(),
                      [](const fs::path& part) { return part == ".." || part == "." || part.empty(); });
}

FileSum parse_line(std::string_view line, const std::string& where, std::size_t number) {
  const bool with_escapes = !line.empty() && line[0] == '\\';
  const std::string_view rest = line.substr(with_escapes ? 1 : 0);
  const std::string_view hex = rest.substr(0, kHexDigits);
  const bool digits = hex.size() == kHexDigits && hex.find_first_not_of("0123456789abcdef") == hex.npos;
  FileSum sum{"", std::string(hex)};
  if (digits && rest.substr(kHexDigits, 2) == "  ") {
    const std::string_view name = rest.substr(kHexDigits + 2);
    sum.name = with_escapes ? unescaped(name) : std::string(name);
  }
  if (!stays_below(sum.name) || sha256sums_text({sum}) != std::string(line) + "\n")
    throw_error(ErrorCode::kCorrupt,
                "'{}': line {}: 64 hex digits, two blanks and the name of a file of the folder expected, got "
                "something else; the list itself is damaged",
                where, number);
  return sum;
}

}  // namespace

struct Sha256::State {
  State() : context(EVP_MD_CTX_new()) { LATENT8_CHECK(context != nullptr); }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  EVP_MD_CTX* context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  LATENT8_CHECK(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::add(std::span<const std::byte> bytes) {
  LATENT8_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  LATENT8_CHECK(EVP_DigestFinal_ex(state_->context, digest.data(), &size) == 1);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

std::string sha256_of_file(const fs::path& path) {
  Sha256 sum;
  for_each_chunk(path, [&](std::int64_t, std::span<const std::byte> bytes) { sum.add(bytes); });
  return sum.hex();
}

std::string sha256sums_text(const std::vector<FileSum>& sums) {
  std::string text;
  for (const FileSum& sum : sums) {
    const std::string name = escaped(sum.name);
    text += fmt::format("{}{}  {}\n", name == sum.name ? "" : "\\", sum.sha256, name);
  }
  return text;
}

std::vector<FileSum> parse_sha256sums(std::string_view text, const std::string& where) {
  std::vector<FileSum> sums;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    if (end == text.npos)
      throw_error(ErrorCode::kCorrupt, "'{}': line {}: a newline at its end expected; the list was cut",
                  where, number);
    sums.push_back(parse_line(text.substr(0, end), where, number));
    text.remove_prefix(end + 1);
  }
  std::vector<std::string> names;
  for (const FileSum& sum : sums) names.push_back(sum.name);
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
    throw_error(ErrorCode::kCorrupt, "'{}': every file once expected, got '{}' twice", where, *twice);
  if (sums.empty())
    throw_error(ErrorCode::kCorrupt, "'{}': a line per file expected, got an empty list", where);
  return sums;
}

std::vector<std::string> files_below(const fs::path& dir) {
  std::vector<std::string> names;
  std::error_code error;
  fs::recursive_directory_iterator it(dir, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const std::string name = it->path().lexically_relative(dir).generic_string();
    if (it->is_regular_file() && name != kSumsFile && name.find(".tmp-") == name.npos) names.push_back(name);
  }
  if (error) throw_error(ErrorCode::kIo, "cannot list '{}': {}", dir.string(), error.message());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<SumProblem> check_sha256sums(const fs::path& dir, ThreadPool& pool, const SumProgress& progress) {
  const fs::path list = dir / kSumsFile;
  const std::vector<FileSum> sums = parse_sha256sums(read_text_file(list), list.string());
  std::vector<std::int64_t> sizes;
  std::int64_t done = 0, total = 0;
  for (const FileSum& sum : sums) {
    std::error_code error;
    const auto size = fs::file_size(dir / sum.name, error);
    sizes.push_back(error ? 0 : static_cast<std::int64_t>(size));
    total += sizes.back();
  }
  std::vector<std::string> got(sums.size());
  const auto group = static_cast<std::size_t>(pool.threads());
  for (std::size_t first = 0; first < sums.size(); first += group) {
    if (progress) progress(done, total);
    const std::size_t count = std::min(group, sums.size() - first);
    pool.parallel_for(static_cast<std::int64_t>(count), 1, [&](std::int64_t i, std::int64_t, int) {
      const std::size_t at = first + static_cast<std::size_t>(i);
      try {
        got[at] = sha256_of_file(dir / sums[at].name);
      } catch (const Error& error) {
        got[at] = error.what();
      }
    });
    for (std::size_t i = first; i < first + count; ++i) done += sizes[i];
  }
  if (progress) progress(total, total);
  std::vector<SumProblem> problems;
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (got[i] != sums[i].sha256)
      problems.push_back({sums[i].name, "SHA-256 " + sums[i].sha256 + " (" + kSumsFile + ")", got[i]});
  return problems;
}

void require_sha256sums(const fs::path& dir, ThreadPool& pool, const SumProgress& progress) {
  const std::vector<SumProblem> problems = check_sha256sums(dir, pool, progress);
  if (problems.empty()) return;
  throw_error(ErrorCode::kCorrupt, "'{}': {} expected, got {}{}; fetch or make the checkpoint again",
              (dir / problems[0].name).string(), problems[0].expected, problems[0].got,
              problems.size() > 1 ? fmt::format(" (and {} files more)", problems.size() - 1) : "");
}

}  // namespace latent8
