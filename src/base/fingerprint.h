#pragma once
// A 64-bit fingerprint of a sequence of values (FNV-1a), to notice that something changed. No protection
// against somebody who wants two things to look the same.
// Source: Fowler, Noll, Vo, "The FNV non-cryptographic hash algorithm".

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace latent8 {

class Fingerprint {
 public:
  void add(std::span<const std::byte> bytes) {
    add_number(bytes.size());
    for (const std::byte b : bytes) add_byte(b);
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  void add_number(std::uint64_t x) {
    for (int shift = 0; shift < 64; shift += 8) add_byte(static_cast<std::byte>(x >> shift & 255U));
  }
  std::uint64_t value() const { return value_; }

 private:
  void add_byte(std::byte b) { value_ = (value_ ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3ULL; }
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

}  // namespace latent8
