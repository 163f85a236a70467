#include "text/byte_alphabet.h"

#include <array>

#include "text/utf8.h"

namespace latent8 {
namespace {

constexpr char32_t kAlphabetEnd = 0x100 + 68;

constexpr bool is_printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<short, kAlphabetEnd> make_table() {
  std::array<short, kAlphabetEnd> table{};
  table.fill(-1);
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    table[is_printable(byte) ? byte : next++] = static_cast<short>(byte);
  }
  return table;
}

constexpr auto kByteOf = make_table();

}  // namespace

std::optional<std::string> bytes_from_alphabet(std::string_view token) {
  std::string bytes;
  while (!token.empty()) {
    const Utf8Step step = utf8_front(token);
    if (step.kind != Utf8Front::kCharacter || step.code_point >= kAlphabetEnd) return std::nullopt;
    const short byte = kByteOf[step.code_point];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
    token.remove_prefix(step.length);
  }
  return bytes;
}

}  // namespace latent8
