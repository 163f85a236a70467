#pragma once
// Keys to values: the transposes that attention needs, in plain C++. See transpose_tile.inl.h for the two
// layouts.

#include <cstdint>
#include <cstring>

#include "kernels/isa/scalar_convert.h"

namespace latent8 {
namespace {

struct ScalarTranspose {
  // in u8 [4][16 keys][4 dims] (code + 128) -> out s8 [4][16 dims][4 keys], the outer four `stride` bytes
  // apart.
  static void transpose_s8_16x16(const void* in, void* out, std::int64_t stride) {
    const auto* from = static_cast<const std::uint8_t*>(in);
    auto* to = static_cast<std::uint8_t*>(out);
    for (int d = 0; d < 16; ++d)
      for (int key = 0; key < 16; ++key)
        to[key / 4 * stride + d * 4 + key % 4] =
            static_cast<std::uint8_t>(from[d / 4 * 64 + key * 4 + d % 4] ^ 0x80U);
  }
  // in fp16 [16 dims][16 keys] -> out f32 [16 keys][16 dims], keys `stride` floats apart.
  static void transpose_fp16_16x16(const void* in, float* out, std::int64_t stride) {
    const auto* from = static_cast<const char*>(in);
    for (int d = 0; d < 16; ++d)
      for (int key = 0; key < 16; ++key) {
        std::uint16_t half;
        std::memcpy(&half, from + (d * 16 + key) * 2, 2);
        out[key * stride + d] = fp16_to_float(half);
      }
  }
};

}  // namespace
}  // namespace latent8
