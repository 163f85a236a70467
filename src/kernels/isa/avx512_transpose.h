#pragma once
// Keys to values: the byte transpose with AVX-512 BW; the fp16 one is AVX2's.

#include <immintrin.h>

#include <cstdint>

#include "kernels/isa/avx2_transpose.h"

namespace latent8 {
namespace {

struct Avx512Transpose : Avx2Transpose {
  static void transpose_s8_16x16(const void* in, void* out, std::int64_t stride) {
    const auto* from = static_cast<const char*>(in);
    auto* to = static_cast<char*>(out);
    const __m512i order =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    __m512i x[4];  // 128-bit lane q of x[j]: dims 4j .. 4j + 3 of keys 4q .. 4q + 3
    for (int j = 0; j < 4; ++j)
      x[j] = _mm512_shuffle_epi8(_mm512_xor_si512(_mm512_loadu_si512(from + j * 64), sign), order);
    const __m512i low01 = _mm512_shuffle_i64x2(x[0], x[1], 0x44);
    const __m512i low23 = _mm512_shuffle_i64x2(x[2], x[3], 0x44);
    const __m512i high01 = _mm512_shuffle_i64x2(x[0], x[1], 0xee);
    const __m512i high23 = _mm512_shuffle_i64x2(x[2], x[3], 0xee);
    _mm512_storeu_si512(to, _mm512_shuffle_i64x2(low01, low23, 0x88));
    _mm512_storeu_si512(to + stride, _mm512_shuffle_i64x2(low01, low23, 0xdd));
    _mm512_storeu_si512(to + 2 * stride, _mm512_shuffle_i64x2(high01, high23, 0x88));
    _mm512_storeu_si512(to + 3 * stride, _mm512_shuffle_i64x2(high01, high23, 0xdd));
  }
};

}  // namespace
}  // namespace latent8
