#pragma once
// A 64-bit checksum (xxHash's XXH3) that notices damage. No protection against somebody who wants two things
// to look the same. Source: https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace latent8 {

// Of bytes in one piece.
std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed = 0);

// Of bytes that come in pieces: the same value however they are cut.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;

  void add(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace latent8
