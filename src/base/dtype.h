#pragma once
// Element types of stored tensors, and their conversion to and from float32. All roundings are to nearest,
// ties to even.

#include <cstdint>
#include <string_view>

namespace latent8 {

enum class DType : std::uint8_t {
  kF64,
  kF32,
  kF16,
  kBf16,
  kF8E4M3,
  kF8E8M0,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool
};

std::int64_t size_of(DType type);        // bytes per element
std::string_view to_string(DType type);  // the safetensors name: "F32", "BF16", "F8_E4M3", "I8", ...
bool parse_dtype(std::string_view name, DType& out);  // false if latent8 does not know the name

struct Bf16 {
  std::uint16_t bits;
};
struct Fp16 {
  std::uint16_t bits;
};
struct Fp8E4M3 {
  std::uint8_t bits;
};  // "fn": no infinity, 0x7f and 0xff are NaN, largest finite 448

float to_float(Bf16 x);
float to_float(Fp16 x);
float to_float(Fp8E4M3 x);
Bf16 to_bf16(float x);
Fp16 to_fp16(float x);         // overflow becomes infinity
Fp8E4M3 to_fp8_e4m3(float x);  // overflow becomes NaN

// n elements of type `type` (a float type or kI8/kU8/kI32/kI64) at `data`, alignment not needed, to float32.
void widen(const void* data, DType type, std::int64_t n, float* out);
// n float32 to `type` (kF32, kF16, kBf16).
void narrow(const float* data, DType type, std::int64_t n, void* out);

}  // namespace latent8
