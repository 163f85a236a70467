#pragma once
// Keys to values: the transposes that attention needs, with AVX2 and F16C.

#include <immintrin.h>

#include <cstdint>

namespace latent8 {
namespace {

struct Avx2Transpose {
  // in u8 [4][16 keys][4 dims] (code + 128) -> out s8 [4][16 dims][4 keys], the outer four `stride` bytes
  // apart.
  static void transpose_s8_16x16(const void* in, void* out, std::int64_t stride) {
    const auto* from = static_cast<const __m128i*>(in);
    const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m128i sign = _mm_set1_epi8(static_cast<char>(0x80));
    for (int quad = 0; quad < 4; ++quad) {  // four keys
      auto* to = reinterpret_cast<__m128i*>(static_cast<char*>(out) + quad * stride);
      for (int d4 = 0; d4 < 4; ++d4) {
        const __m128i x = _mm_xor_si128(_mm_loadu_si128(from + d4 * 4 + quad), sign);
        _mm_storeu_si128(to + d4, _mm_shuffle_epi8(x, order));
      }
    }
  }
  // in fp16 [16 dims][16 keys] -> out f32 [16 keys][16 dims], keys `stride` floats apart.
  static void transpose_fp16_16x16(const void* in, float* out, std::int64_t stride) {
    const auto* from = static_cast<const std::uint16_t*>(in);
    for (int key = 0; key < 16; key += 8)
      for (int d = 0; d < 16; d += 8) transpose_8x8(from + d * 16 + key, out + key * stride + d, stride);
  }

 private:
  static void transpose_8x8(const std::uint16_t* in, float* out, std::int64_t stride) {
    __m128i x[8], y[8];
    for (int i = 0; i < 8; ++i) x[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i * 16));
    for (int i = 0; i < 4; ++i) {  // y: rows i and i + 4 interleaved
      y[2 * i] = _mm_unpacklo_epi16(x[i], x[i + 4]);
      y[2 * i + 1] = _mm_unpackhi_epi16(x[i], x[i + 4]);
    }
    for (int i = 0; i < 4; ++i) {  // x: rows i, i + 2, i + 4, i + 6
      x[2 * i] = _mm_unpacklo_epi16(y[i], y[i + 4]);
      x[2 * i + 1] = _mm_unpackhi_epi16(y[i], y[i + 4]);
    }
    for (int i = 0; i < 4; ++i) {
      widen_to(out + 2 * i * stride, _mm_unpacklo_epi16(x[i], x[i + 4]));
      widen_to(out + (2 * i + 1) * stride, _mm_unpackhi_epi16(x[i], x[i + 4]));
    }
  }
  static void widen_to(float* out, __m128i half) { _mm256_storeu_ps(out, _mm256_cvtph_ps(half)); }
};

}  // namespace
}  // namespace latent8
