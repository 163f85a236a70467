#pragma once
// One-lane trait: the algorithms of algo/ in plain C++. It is the fallback, and lets tests run an algorithm
// without SIMD.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/isa/scalar_convert.h"

namespace latent8 {
namespace {

struct Scalar {
  using F = float;
  using I = std::int32_t;  // one int32, or four bytes
  static constexpr int kLanes = 1;
  static constexpr int kRegisters = 16;
  static constexpr int kGroupBytes = 4;  // see interleave()
  static constexpr int kVectors = kGroupBytes / 4;

  static F zero() { return 0.0F; }
  static F set1(float x) { return x; }
  static F load(const float* p) { return *p; }
  static F load_n(const float* p, int n) { return n > 0 ? *p : 0.0F; }
  static void store(float* p, F x) { *p = x; }
  static void store_n(float* p, F x, int n) {
    if (n > 0) *p = x;
  }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F fma(F a, F b, F c) { return a * b + c; }  // rounds twice; the SIMD tables once
  static F max(F a, F b) { return a > b ? a : b; }
  static F min(F a, F b) { return a < b ? a : b; }
  // min and max return b if an operand is NaN.
  static F zero_if_below(F x, F limit, F y) { return x < limit ? 0.0F : y; }  // lane by lane
  static F zero_if_nan(F x) { return x == x ? x : 0.0F; }
  static F abs(F a) { return ::fabsf(a); }
  static F round(F a) { return ::nearbyintf(a); }
  static F times_pow2(F a, F n) {  // integral n in [-126, 127]; NaN stays NaN
    return n >= -126.0F && n <= 127.0F ? a * ::ldexpf(1.0F, static_cast<int>(n)) : n;
  }
  static float reduce_add(F a) { return a; }
  static float reduce_max(F a) { return a; }

  static F load_bf16(const void* p) { return bf16_to_float(read<std::uint16_t>(p)); }
  static F load_fp16(const void* p) { return fp16_to_float(read<std::uint16_t>(p)); }
  static F load_fp8(const void* p) { return fp8_to_float(read<std::uint8_t>(p)); }
  static F load_fp8_n(const void* p, int n) { return n > 0 ? load_fp8(p) : 0.0F; }
  static F load_bf16_n(const void* p, int n) { return n > 0 ? load_bf16(p) : 0.0F; }
  static F load_fp16_n(const void* p, int n) { return n > 0 ? load_fp16(p) : 0.0F; }

  static I izero() { return 0; }
  static I iset1(std::int32_t x) { return x; }
  static I iload(const void* p) { return read<std::int32_t>(p); }
  static I iload_n(const void* p, int bytes) {
    std::int32_t x = 0;
    std::memcpy(&x, p, static_cast<std::size_t>(bytes < 4 ? (bytes > 0 ? bytes : 0) : 4));
    return x;
  }
  static void istore(void* p, I x) { std::memcpy(p, &x, 4); }
  static I flip_sign_bits(I x) { return static_cast<I>(static_cast<std::uint32_t>(x) ^ 0x80808080U); }
  static I dot(I acc, I u8, I s8) {
    std::int32_t sum = 0;
    for (int i = 0; i < 4; ++i)
      sum += static_cast<std::int32_t>(static_cast<std::uint32_t>(u8) >> (8 * i) & 255U) *
             static_cast<std::int8_t>(static_cast<std::uint32_t>(s8) >> (8 * i) & 255U);
    return iadd(acc, sum);
  }
  static I iadd(I a, I b) {  // wraps, as registers do
    return static_cast<I>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
  }
  static I isub(I a, I b) { return a - b; }
  static I ibroadcast_group(const void* p) { return iload(p); }
  static void interleave(I (&)[1]) {}
  static I add_groups(const I (&v)[1]) { return v[0]; }
  static void fold_groups(I a, std::int32_t* out) { *out = a; }
  static void keep(F& x) { __asm__ volatile("" : "+x"(x)); }  // the optimiser loses track of x
  static void keep(I& x) { __asm__ volatile("" : "+r"(x)); }
  static std::int32_t reduce_iadd(I a) { return a; }
  static F to_float(I a) { return static_cast<float>(a); }
  // Rounded to nearest even. Any code stands for NaN, which has none.
  static void store_s8(std::int8_t* p, F x) {
    *p = x == x ? static_cast<std::int8_t>(::nearbyintf(x)) : std::int8_t{0};
  }
  static void store_u8(std::uint8_t* p, F x) {
    *p = x == x ? static_cast<std::uint8_t>(::nearbyintf(x)) : std::uint8_t{0};
  }

 private:
  template <class T>
  static T read(const void* p) {
    T x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
};

}  // namespace
}  // namespace latent8
