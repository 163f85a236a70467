#pragma once
// Numbers that tools/reference/recipe.py draws too: golden data keeps what a reference makes of them, not
// them.

#include <cstdint>

namespace latent8 {

// Element `index` of stream `stream`.
inline std::uint64_t recipe_bits(std::uint64_t stream, std::uint64_t index) {
  std::uint64_t x = (stream << 32) + index + 1;
  x *= 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

// A sum of four bytes, less its mean: -510 .. 510, bell-shaped, with a deviation of 148.
inline int recipe_bell(std::uint64_t stream, std::uint64_t index) {
  const std::uint64_t x = recipe_bits(stream, index);
  return static_cast<int>((x & 255) + (x >> 8 & 255) + (x >> 16 & 255) + (x >> 24 & 255)) - 510;
}

}  // namespace latent8
