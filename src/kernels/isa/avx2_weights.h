#pragma once
// What quantising weights needs of AVX2: 8 lanes, units of 32 weights.

#include <immintrin.h>

namespace latent8 {
namespace {

struct Avx2Weights {
  static constexpr bool kFusedFma = true;
  static constexpr bool kByteTables = false;  // look_up()

  // Four vectors of fp8 numbers, NaN not among them, as 2^-8 of their values.
  static void load_fp8_256ths(const void* p, __m256 (&x)[4]) {
    for (int i = 0; i < 2; ++i) {  // e4m3 moved into fp16 is 2^-8 of its value
      const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(static_cast<const __m128i*>(p) + i));
      const __m256i half =
          _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(static_cast<short>(0xbf80)));
      x[2 * i] = _mm256_cvtph_ps(_mm256_castsi256_si128(half));
      x[2 * i + 1] = _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1));
    }
  }
  // Bytewise the larger of a, whose sign bits are 0, and b without its sign bits.
  static __m256i max_magnitude(__m256i a, __m256i b) {
    return _mm256_max_epu8(a, _mm256_and_si256(b, _mm256_set1_epi8(0x7f)));
  }
  // 2^-8 of the largest fp8 magnitude of every kLanes-th byte.
  static __m256 fp8_maxima_256ths(__m256i x) {
    const __m128i half = _mm_max_epu8(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    const __m128i bytes = _mm_max_epu8(half, _mm_srli_si128(half, 8));
    return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(bytes), 7));
  }
  // Rounds to even and clamps to [-127, 127]; |x| < 2^31.
  static __m256i pack_codes(const __m256 (&x)[4]) {
    const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1]));
    const __m256i cd = _mm256_packs_epi32(_mm256_cvtps_epi32(x[2]), _mm256_cvtps_epi32(x[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), order);
    return _mm256_max_epi8(bytes, _mm256_set1_epi8(-127));
  }
};

}  // namespace
}  // namespace latent8
