#pragma once
// What an instruction set must offer so that the algorithms of algo/ can be compiled for it: the concept
// KernelTrait, which table_of() checks. A trait is a struct of static functions over a register F of kLanes floats
// and a register I of the same bytes. "Lane i" of I is its i-th int32, "byte i" its i-th byte.
//
// Rules that hold for every function, unless it says otherwise:
//   * floats are IEEE fp32, round to nearest even, subnormals kept; one rounding per operation (dot_bf16 excepted)
//   * an operation on NaN gives NaN, on infinities what IEEE says; no function traps
//   * pointers need no alignment; load_n and iload_n read no byte behind the n-th, store_n writes none
//   * integers wrap
// A result may differ between traits only where a comment below says so; tests/kernels compare each with ref/.

#include <concepts>
#include <cstdint>

namespace latent8 {
namespace {

// Sizes: kLanes divides 16; kRegisters, how many registers there are, decides the size of register tiles (32, or
// less); kGroupBytes, how many bytes of an activation one broadcast brings to the packed int8 product: a register
// holds kGroups = 4 kLanes / kGroupBytes weight rows there, and kVectors = kGroupBytes / 4 registers hold kLanes.
template <class T>
concept LaneSizes = requires {
  requires T::kLanes >= 1 && 16 % T::kLanes == 0;
  requires T::kRegisters >= 16;
  requires T::kGroupBytes >= 4 && 4 * T::kLanes % T::kGroupBytes == 0;
  requires T::kVectors == T::kGroupBytes / 4;
  requires sizeof(typename T::F) == 4 * T::kLanes && sizeof(typename T::I) == 4 * T::kLanes;
};

template <class T>
concept FloatLanes = requires(typename T::F a, typename T::F& changed, const float* p, float* q, float x, int n) {
  { T::zero() } -> std::same_as<typename T::F>;
  { T::set1(x) } -> std::same_as<typename T::F>;
  { T::load(p) } -> std::same_as<typename T::F>;
  { T::load_n(p, n) } -> std::same_as<typename T::F>;  // lanes from n on are +0; n <= 0: all, n >= kLanes: none
  { T::store(q, a) } -> std::same_as<void>;
  { T::store_n(q, a, n) } -> std::same_as<void>;  // the first n lanes
  { T::add(a, a) } -> std::same_as<typename T::F>;
  { T::sub(a, a) } -> std::same_as<typename T::F>;
  { T::mul(a, a) } -> std::same_as<typename T::F>;
  { T::div(a, a) } -> std::same_as<typename T::F>;
  // a * b + c. One rounding, two in a trait whose kFusedFma is false.
  { T::fma(a, a, a) } -> std::same_as<typename T::F>;
  // The second operand if one of them is NaN: max(x, running) passes over a NaN in x.
  { T::max(a, a) } -> std::same_as<typename T::F>;
  { T::min(a, a) } -> std::same_as<typename T::F>;
  { T::zero_if_below(a, a, a) } -> std::same_as<typename T::F>;  // x < limit ? +0 : y; y where x is NaN
  { T::zero_if_nan(a) } -> std::same_as<typename T::F>;          // +0 where x is NaN
  { T::abs(a) } -> std::same_as<typename T::F>;                  // clears the sign, of NaN too
  { T::round(a) } -> std::same_as<typename T::F>;                // to an integer, ties to even; inf stays inf
  // x * 2^n for integral n in [-126, 127]. NaN where both are NaN; any value for other n.
  { T::times_pow2(a, a) } -> std::same_as<typename T::F>;
  // Fixed trees over the lanes: halves are added until one lane is left. reduce_max: REQUIRES no NaN.
  { T::reduce_add(a) } -> std::same_as<float>;
  { T::reduce_max(a) } -> std::same_as<float>;
  { T::keep(changed) } -> std::same_as<void>;  // the optimiser loses track of the register
};

// Stored numbers, widened exactly: NaN to NaN, infinities to infinities. e4m3 has NaN (0x7f, 0xff), no infinities.
template <class T>
concept StoredLoads = requires(const void* p, int n) {
  { T::load_bf16(p) } -> std::same_as<typename T::F>;
  { T::load_fp16(p) } -> std::same_as<typename T::F>;
  { T::load_fp8(p) } -> std::same_as<typename T::F>;
  { T::load_bf16_n(p, n) } -> std::same_as<typename T::F>;  // as load_n
  { T::load_fp16_n(p, n) } -> std::same_as<typename T::F>;
  { T::load_fp8_n(p, n) } -> std::same_as<typename T::F>;
};

template <class T>
concept IntegerLanes = requires(typename T::I a, typename T::I& changed, typename T::F f, const void* p, void* q,
                                std::int8_t* s8, std::uint8_t* u8, std::int32_t x, int n) {
  { T::izero() } -> std::same_as<typename T::I>;
  { T::iset1(x) } -> std::same_as<typename T::I>;
  { T::iload(p) } -> std::same_as<typename T::I>;
  { T::iload_n(p, n) } -> std::same_as<typename T::I>;  // the first n BYTES; the others are 0
  { T::istore(q, a) } -> std::same_as<void>;
  { T::flip_sign_bits(a) } -> std::same_as<typename T::I>;  // byte ^ 0x80: s8 to u8 with 128 added, and back
  // Lane i + the sum of the four products u8 * s8 of its bytes, exact in int32: no saturation on the way.
  { T::dot(a, a, a) } -> std::same_as<typename T::I>;
  { T::iadd(a, a) } -> std::same_as<typename T::I>;
  { T::isub(a, a) } -> std::same_as<typename T::I>;
  { T::reduce_iadd(a) } -> std::same_as<std::int32_t>;
  { T::to_float(a) } -> std::same_as<typename T::F>;  // rounded to nearest even
  // kLanes bytes, rounded to nearest even. REQUIRES: lanes in [-128, 127], [0, 255]; NaN gives any byte.
  { T::store_s8(s8, f) } -> std::same_as<void>;
  { T::store_u8(u8, f) } -> std::same_as<void>;
  { T::keep(changed) } -> std::same_as<void>;
};

// The packed int8 product (gemm_s8.inl.h): registers made of groups of kGroupBytes bytes.
template <class T>
concept ByteGroups = requires(typename T::I a, const void* p, std::int32_t* out,
                              typename T::I (&groups)[4 * T::kLanes / T::kGroupBytes],
                              const typename T::I (&vectors)[T::kVectors]) {
  { T::ibroadcast_group(p) } -> std::same_as<typename T::I>;        // kGroupBytes bytes in every group
  { T::interleave(groups) } -> std::same_as<void>;                  // v[i] becomes group i of every v
  { T::add_groups(vectors) } -> std::same_as<typename T::I>;        // lane kVectors g + j: sum of group g of v[j]
  { T::fold_groups(a, out) } -> std::same_as<void>;                 // out[j] = sum of lanes j, kVectors + j, ...
};

// Keys to values (transpose_tile.inl.h).
template <class T>
concept Transposes = requires(const void* in, void* out, float* floats, std::int64_t stride) {
  // u8 [4][16 keys][4 dims] (code + 128) -> s8 [4][16 dims][4 keys], the outer four `stride` bytes apart
  { T::transpose_s8_16x16(in, out, stride) } -> std::same_as<void>;
  // fp16 [16 dims][16 keys] -> fp32 [16 keys][16 dims], keys `stride` floats apart; widened exactly
  { T::transpose_fp16_16x16(in, floats, stride) } -> std::same_as<void>;
};

// Quantising weights (weight_rows.inl.h), 4 kLanes of them at a time.
template <class T>
concept WeightCoding = requires(const void* p, typename T::F (&x)[4], const typename T::F (&y)[4], typename T::I a) {
  { T::kFusedFma } -> std::convertible_to<bool>;    // fma() rounds once
  { T::kByteTables } -> std::convertible_to<bool>;  // there is look_up(table of 128 bytes, bytes)
  // 4 kLanes e4m3 numbers as 2^-8 of their values. REQUIRES no NaN among them: any finite value stands for it.
  { T::load_fp8_256ths(p, x) } -> std::same_as<void>;
  // Bytewise the larger of a, whose sign bits are 0, and b without its sign bits; 0x7f (NaN) is the largest.
  { T::max_magnitude(a, a) } -> std::same_as<typename T::I>;
  { T::fp8_maxima_256ths(a) } -> std::same_as<typename T::F>;  // 2^-8 of the largest of bytes i, kLanes + i, ...
  // Bytes rounded to even and clamped to [-127, 127]. REQUIRES |x| < 2^31; NaN gives any code.
  { T::pack_codes(y) } -> std::same_as<typename T::I>;
};

// Bytewise table[magnitude of the byte], negated where its sign bit is set; only where kByteTables.
template <class T>
concept ByteTables = !T::kByteTables || requires(const typename T::I (&table)[2], typename T::I bytes) {
  { T::look_up(table, bytes) } -> std::same_as<typename T::I>;
};

template <class T>
concept KernelTrait = LaneSizes<T> && FloatLanes<T> && StoredLoads<T> && IntegerLanes<T> && ByteGroups<T> &&
                      Transposes<T> && WeightCoding<T> && ByteTables<T>;

// acc + a . b over pairs of bf16 per lane, fp32 sums. Not exact: subnormals count as zero. For peak_bf16 only.
template <class T>
concept Bf16Dot = requires(typename T::F acc, typename T::I a) {
  { T::dot_bf16(acc, a, a) } -> std::same_as<typename T::F>;
};

}  // namespace
}  // namespace latent8
