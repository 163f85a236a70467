#pragma once
// AVX2 + FMA + F16C trait: 8 lanes. No VNNI: dot() widens to 16 bits, which cannot saturate.

#include <immintrin.h>

#include <cstdint>

namespace latent8 {
namespace {

struct Avx2 {
  using F = __m256;
  using I = __m256i;  // 8 int32, or 32 bytes
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  static constexpr int kGroupBytes = 16;
  static constexpr int kVectors = kGroupBytes / 4;

  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float x) { return _mm256_set1_ps(x); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static F load_n(const float* p, int n) { return _mm256_maskload_ps(p, mask(n)); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static void store_n(float* p, F x, int n) { _mm256_maskstore_ps(p, mask(n), x); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F zero_if_below(F x, F limit, F y) { return _mm256_and_ps(y, _mm256_cmp_ps(x, limit, _CMP_NLT_UQ)); }
  static F zero_if_nan(F x) { return _mm256_and_ps(x, _mm256_cmp_ps(x, x, _CMP_ORD_Q)); }
  static F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
  static F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F times_pow2(F a, F n) {  // integral n in [-126, 127]
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }
  static float reduce_add(F a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float reduce_max(F a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static F load_bf16(const void* p) { return widen_bf16(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
  static F load_fp16(const void* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  static F load_fp8(const void* p) { return widen_fp8(_mm_loadl_epi64(static_cast<const __m128i*>(p))); }
  static F load_bf16_n(const void* p, int n) { return widen_bf16(partial(p, n * 2)); }
  static F load_fp16_n(const void* p, int n) { return _mm256_cvtph_ps(partial(p, n * 2)); }
  static F load_fp8_n(const void* p, int n) { return widen_fp8(partial(p, n)); }

  static I izero() { return _mm256_setzero_si256(); }
  static I iset1(std::int32_t x) { return _mm256_set1_epi32(x); }
  static I iload(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static I iload_n(const void* p, int bytes) {
    const auto* b = static_cast<const char*>(p);
    const __m128i low = partial(b, bytes < 16 ? bytes : 16);
    const __m128i high = bytes > 16 ? partial(b + 16, bytes - 16) : _mm_setzero_si128();
    return _mm256_set_m128i(high, low);
  }
  static void istore(void* p, I x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
  static I flip_sign_bits(I x) { return _mm256_xor_si256(x, _mm256_set1_epi8(static_cast<char>(0x80))); }
  static I dot(I acc, I u8, I s8) {
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(u8, _mm256_set1_epi16(0xff)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(s8, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u8, 8), _mm256_srai_epi16(s8, 8));
    return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
  }
  static I iadd(I a, I b) { return _mm256_add_epi32(a, b); }
  static I isub(I a, I b) { return _mm256_sub_epi32(a, b); }
  static I ibroadcast_group(const void* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  // Transposes groups of 16 bytes: v[i] becomes group i of every v.
  static void interleave(I (&v)[2]) {
    const I low = _mm256_permute2x128_si256(v[0], v[1], 0x20);
    v[1] = _mm256_permute2x128_si256(v[0], v[1], 0x31);
    v[0] = low;
  }
  // Lane 4 g + j is the sum of the four lanes of group g of v[j].
  static I add_groups(const I (&v)[4]) {
    const I ab = _mm256_add_epi32(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
    const I cd = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  }
  // out[j] is the sum of lanes j, 4 + j, ...
  static void fold_groups(I a, std::int32_t* out) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                     _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
  }
  static void keep(F& x) { __asm__ volatile("" : "+x"(x)); }  // the optimiser loses track of x
  static void keep(I& x) { __asm__ volatile("" : "+x"(x)); }
  static std::int32_t reduce_iadd(I a) {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
  }
  static F to_float(I a) { return _mm256_cvtepi32_ps(a); }
  // Lanes within [-128, 127] or [0, 255], rounded to nearest even: kLanes bytes.
  static void store_s8(std::int8_t* p, F x) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), pack_bytes(x));
  }
  static void store_u8(std::uint8_t* p, F x) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), pack_bytes(x));
  }

 private:
  static __m256i mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static __m128i partial(const void* p, int bytes) {  // zero-extended; bytes in [0, 16]
    alignas(16) unsigned char buffer[16] = {};
    for (int i = 0; i < bytes && i < 16; ++i) buffer[i] = static_cast<const unsigned char*>(p)[i];
    return _mm_load_si128(reinterpret_cast<const __m128i*>(buffer));
  }
  static F widen_bf16(__m128i x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  }
  static F widen_fp8(__m128i x) {  // e4m3 moved into fp16 is 2^-8 of its value; 0x7f is NaN
    const __m128i wide = _mm_cvtepu8_epi16(x);
    const __m128i magnitude = _mm_and_si128(wide, _mm_set1_epi16(0x7f));
    const __m128i nan = _mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7f));
    const __m128i sign = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x80)), 8);
    const __m128i half = _mm_or_si128(_mm_or_si128(_mm_slli_epi16(magnitude, 7), sign), nan);
    return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0F));
  }
  static __m128i pack_bytes(F x) {
    const __m256i shuffle = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0,
                                             4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_cvtps_epi32(x), shuffle);
    return _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  }
};

}  // namespace
}  // namespace latent8
