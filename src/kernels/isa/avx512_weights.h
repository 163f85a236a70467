#pragma once
// What quantising weights needs of AVX-512: 16 lanes, units of 64 weights.

#include <immintrin.h>

namespace latent8 {
namespace {

struct Avx512Weights {
  static constexpr bool kFusedFma = true;
  static constexpr bool kByteTables = false;  // look_up()

  // Four vectors of fp8 numbers, NaN not among them, as 2^-8 of their values.
  static void load_fp8_256ths(const void* p, __m512 (&x)[4]) {
    for (int i = 0; i < 2; ++i) {  // e4m3 moved into fp16 is 2^-8 of its value
      const __m512i wide = _mm512_cvtepi8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(p) + i));
      const __m512i half =
          _mm512_and_si512(_mm512_slli_epi16(wide, 7), _mm512_set1_epi16(static_cast<short>(0xbf80)));
      x[2 * i] = _mm512_cvtph_ps(_mm512_castsi512_si256(half));
      x[2 * i + 1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1));
    }
  }
  // Bytewise the larger of a, whose sign bits are 0, and b without its sign bits.
  static __m512i max_magnitude(__m512i a, __m512i b) {
    return _mm512_max_epu8(a, _mm512_and_si512(b, _mm512_set1_epi8(0x7f)));
  }
  // 2^-8 of the largest fp8 magnitude of every kLanes-th byte.
  static __m512 fp8_maxima_256ths(__m512i x) {
    const __m256i half = _mm256_max_epu8(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    const __m128i bytes = _mm_max_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    return _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes), 7));
  }
  // Rounds to even and clamps to [-127, 127]; |x| < 2^31.
  static __m512i pack_codes(const __m512 (&x)[4]) {
    const __m512i ab = _mm512_packs_epi32(_mm512_cvtps_epi32(x[0]), _mm512_cvtps_epi32(x[1]));
    const __m512i cd = _mm512_packs_epi32(_mm512_cvtps_epi32(x[2]), _mm512_cvtps_epi32(x[3]));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(ab, cd));
    return _mm512_max_epi8(bytes, _mm512_set1_epi8(-127));
  }
};

}  // namespace
}  // namespace latent8
