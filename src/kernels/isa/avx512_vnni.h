#pragma once
// AVX-512 F, BW, VL, DQ, VNNI trait: 16 lanes.
// dot() is vpdpbusd, u8 x s8: weights and keys become u8 by flip_sign_bits() in registers (XOR 0x80 adds
// 128), the other operand stays s8, and 128 * sum(s8 operand) is subtracted once per row.

#include <immintrin.h>

#include <cstdint>

namespace latent8 {
namespace {

struct Avx512Vnni {
  using F = __m512;
  using I = __m512i;  // 16 int32, or 64 bytes
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  static constexpr int kGroupBytes = 16;
  static constexpr int kVectors = kGroupBytes / 4;

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float x) { return _mm512_set1_ps(x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store_n(float* p, F x, int n) { _mm512_mask_storeu_ps(p, mask(n), x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F zero_if_below(F x, F limit, F y) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), y);
  }
  static F zero_if_nan(F x) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, x, _CMP_ORD_Q), x); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F times_pow2(F a, F n) { return _mm512_scalef_ps(a, n); }  // integral n in [-126, 127]
  static float reduce_add(F a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float reduce_max(F a) { return _mm512_reduce_max_ps(a); }

  static F load_bf16(const void* p) { return widen_bf16(_mm256_loadu_si256(static_cast<const __m256i*>(p))); }
  static F load_fp16(const void* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  static F load_fp8(const void* p) { return widen_fp8(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
  static F load_bf16_n(const void* p, int n) { return widen_bf16(_mm256_maskz_loadu_epi16(mask(n), p)); }
  static F load_fp16_n(const void* p, int n) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(n), p)); }
  static F load_fp8_n(const void* p, int n) { return widen_fp8(_mm_maskz_loadu_epi8(mask(n), p)); }

  static I izero() { return _mm512_setzero_si512(); }
  static I iset1(std::int32_t x) { return _mm512_set1_epi32(x); }
  static I iload(const void* p) { return _mm512_loadu_si512(p); }
  static I iload_n(const void* p, int bytes) {
    const __mmask64 m = bytes >= 64 ? ~0ULL : bytes <= 0 ? 0ULL : (1ULL << bytes) - 1;
    return _mm512_maskz_loadu_epi8(m, p);
  }
  static void istore(void* p, I x) { _mm512_storeu_si512(p, x); }
  static I flip_sign_bits(I x) { return _mm512_xor_si512(x, _mm512_set1_epi8(static_cast<char>(0x80))); }
  static I dot(I acc, I u8, I s8) { return _mm512_dpbusd_epi32(acc, u8, s8); }
  static I iadd(I a, I b) { return _mm512_add_epi32(a, b); }
  static I isub(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I ibroadcast_group(const void* p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  // Transposes groups of 16 bytes: v[i] becomes group i of every v.
  static void interleave(I (&v)[4]) {
    const I low01 = _mm512_shuffle_i32x4(v[0], v[1], 0x44), high01 = _mm512_shuffle_i32x4(v[0], v[1], 0xee);
    const I low23 = _mm512_shuffle_i32x4(v[2], v[3], 0x44), high23 = _mm512_shuffle_i32x4(v[2], v[3], 0xee);
    v[0] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    v[1] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
    v[2] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    v[3] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
  }
  // Lane 4 g + j is the sum of the four lanes of group g of v[j].
  static I add_groups(const I (&v)[4]) {
    const I ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const I cd = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  }
  // out[j] is the sum of lanes j, 4 + j, ...
  static void fold_groups(I a, std::int32_t* out) {
    const __m256i eight = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                     _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1)));
  }
  static void keep(F& x) { __asm__ volatile("" : "+v"(x)); }  // the optimiser loses track of x
  static void keep(I& x) { __asm__ volatile("" : "+v"(x)); }
  static std::int32_t reduce_iadd(I a) { return _mm512_reduce_add_epi32(a); }
  static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
  // Lanes within [-128, 127] or [0, 255], rounded to nearest even: kLanes bytes.
  static void store_s8(std::int8_t* p, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
  }
  static void store_u8(std::uint8_t* p, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(x)));
  }

 private:
  static __mmask16 mask(int n) {
    return static_cast<__mmask16>(n >= 16 ? 0xffffU : n <= 0 ? 0U : (1U << n) - 1);
  }
  static F widen_bf16(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
  }
  static F widen_fp8(__m128i x) {  // e4m3 moved into fp16 is 2^-8 of its value; 0x7f is NaN
    const __m256i wide = _mm256_cvtepu8_epi16(x);
    const __m256i magnitude = _mm256_and_si256(wide, _mm256_set1_epi16(0x7f));
    const __m256i nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7f));
    const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x80)), 8);
    const __m256i half = _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign), nan);
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0F));
  }
};

}  // namespace
}  // namespace latent8
