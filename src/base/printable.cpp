#include "base/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace latent8 {
namespace {

struct Step {
  std::size_t length;  // bytes
  std::uint32_t code_point;
  bool valid;
};

Step front(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return {1, first, true};
  const std::size_t length = first >= 0xF0 ? 4 : (first >= 0xE0 ? 3 : 2);
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return {1, first, false};
  std::uint32_t code_point = first & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {1, first, false};
    code_point = (code_point << 6) | (byte(i) & 0x3Fu);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code_point >= 0xD800 && code_point < 0xE000;
  if (code_point < kLeast[length] || code_point > 0x10FFFF || surrogate) return {1, first, false};
  return {length, code_point, true};
}

// Controls, separators of lines, marks and overrides of direction, interlinear and tag characters.
bool is_harmful(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || (c >= 0x200E && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || (c >= 0xFFF9 && c <= 0xFFFB) ||
         (c >= 0xE0000 && c <= 0xE007F);
}

void append_escaped(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const Step step = front(text);
    if (step.valid && !is_harmful(step.code_point)) {
      out += text.substr(0, step.length);
    } else if (step.code_point == '\n') {
      out += "\\n";
    } else if (step.code_point == '\t') {
      out += "\\t";
    } else if (step.code_point < 0x100) {
      out += fmt::format("\\x{:02x}", step.code_point);
    } else {
      out += fmt::format("\\u{:04x}", step.code_point);
    }
    text.remove_prefix(step.length);
  }
}

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

std::string printable(std::string_view text, std::size_t most) {
  std::string out;
  if (text.size() <= most) {
    append_escaped(out, text);
    return out;
  }
  std::size_t head = most * 2 / 3;
  while (head > 0 && continues(text[head])) --head;
  std::size_t tail = text.size() - most / 3;
  while (tail < text.size() && continues(text[tail])) ++tail;
  append_escaped(out, text.substr(0, head));
  out += fmt::format(" ...({} bytes)... ", tail - head);
  append_escaped(out, text.substr(tail));
  return out;
}

}  // namespace latent8
