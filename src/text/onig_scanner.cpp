#include "text/onig_scanner.h"

#include "base/error.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

constexpr std::size_t kShownBytes = 80;  // of a pattern, in a message

// The pattern around `at`: patterns of a thousand bytes are usual.
std::string shown(std::string_view pattern, std::size_t at) {
  std::size_t begin = at > kShownBytes / 2 ? at - kShownBytes / 2 : 0;
  while (begin > 0 && (static_cast<unsigned char>(pattern[begin]) & 0xC0) == 0x80) --begin;
  std::size_t end = std::min(pattern.size(), begin + kShownBytes);
  while (end < pattern.size() && (static_cast<unsigned char>(pattern[end]) & 0xC0) == 0x80) ++end;
  return fmt::format("{}{}{}", begin > 0 ? "..." : "", pattern.substr(begin, end - begin),
                     end < pattern.size() ? "..." : "");
}

bool is_name_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

}  // namespace

OnigScanner::OnigScanner(std::string_view pattern, std::string_view where)
    : pattern_(pattern), where_(where) {
  if (const auto bad = first_invalid_utf8(pattern))
    throw_error(ErrorCode::kCorrupt, "{}: a regex is not UTF-8 at byte {}", where, *bad);
}

bool OnigScanner::skip(std::string_view text) {
  if (!rest().starts_with(text)) return false;
  at_ += text.size();
  return true;
}

char32_t OnigScanner::next_code_point() {
  const Utf8Step step = utf8_front(rest());
  at_ += step.length;
  return step.code_point;
}

bool OnigScanner::skip_named_group() {
  const std::string_view text = rest();
  const char close = text.starts_with("(?<") ? '>' : '\'';
  if (close == '\'' && !text.starts_with("(?'")) return false;
  std::size_t end = 3;
  while (end < text.size() && is_name_byte(text[end])) ++end;
  if (end == 3 || end == text.size() || text[end] != close) return false;
  at_ += end + 1;
  return true;
}

void OnigScanner::refuse(std::string_view what) const {
  throw_error(ErrorCode::kUnsupported, "{}: regex '{}': {} at offset {} is not supported", where_,
              shown(pattern_, at_), what, at_);
}

void OnigScanner::corrupt(std::string_view what) const {
  throw_error(ErrorCode::kCorrupt, "{}: regex '{}': {} at offset {}", where_, shown(pattern_, at_), what,
              at_);
}

}  // namespace latent8
