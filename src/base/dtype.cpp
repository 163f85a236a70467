#include "base/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace latent8 {
namespace {

struct Entry {
  DType type;
  std::string_view name;
  std::int64_t bytes;
};
constexpr std::array<Entry, 12> kEntries{{{DType::kF64, "F64", 8},
                                          {DType::kF32, "F32", 4},
                                          {DType::kF16, "F16", 2},
                                          {DType::kBf16, "BF16", 2},
                                          {DType::kF8E4M3, "F8_E4M3", 1},
                                          {DType::kF8E8M0, "F8_E8M0", 1},
                                          {DType::kI64, "I64", 8},
                                          {DType::kI32, "I32", 4},
                                          {DType::kI16, "I16", 2},
                                          {DType::kI8, "I8", 1},
                                          {DType::kU8, "U8", 1},
                                          {DType::kBool, "BOOL", 1}}};

const Entry& entry(DType type) { return kEntries[static_cast<std::size_t>(type)]; }

template <class Stored, class Convert>
void widen_as(const void* data, std::int64_t n, float* out, Convert convert) {
  const auto* bytes = static_cast<const std::byte*>(data);
  for (std::int64_t i = 0; i < n; ++i) {
    Stored value;
    std::memcpy(&value, bytes + i * static_cast<std::int64_t>(sizeof(Stored)), sizeof(Stored));
    out[i] = convert(value);
  }
}

}  // namespace

std::int64_t size_of(DType type) { return entry(type).bytes; }
std::string_view to_string(DType type) { return entry(type).name; }

bool parse_dtype(std::string_view name, DType& out) {
  for (const Entry& e : kEntries)
    if (e.name == name) return out = e.type, true;
  return false;
}

float to_float(Bf16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

float to_float(Fp16 x) {
  const std::uint32_t sign = std::uint32_t{x.bits & 0x8000U} << 16;
  const std::uint32_t exponent = (x.bits >> 10) & 0x1fU, mantissa = x.bits & 0x3ffU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide_exponent = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide_exponent << 23 | mantissa << 13);
}

float to_float(Fp8E4M3 x) {
  const std::uint32_t exponent = (x.bits >> 3) & 15U, mantissa = x.bits & 7U;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0
                              ? static_cast<float>(mantissa) * 0x1p-9F
                              : std::ldexp(static_cast<float>(8 + mantissa), static_cast<int>(exponent) - 10);
  return (x.bits & 0x80U) != 0 ? -magnitude : magnitude;
}

Bf16 to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return {static_cast<std::uint16_t>(bits >> 16 | 0x40U)};
  return {static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16)};
}

Fp16 to_fp16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return {static_cast<std::uint16_t>(sign | 0x7e00U)};
  if (magnitude >= 0x477ff000U) return {static_cast<std::uint16_t>(sign | 0x7c00U)};  // 65520 and above
  if (magnitude < 0x38800000U) {  // below 2^-14: subnormal
    // Adding 0.5 aligns the value's last kept bit with that of a float in [0.5, 1), and the addition rounds
    // to even.
    const float aligned = std::bit_cast<float>(magnitude) + 0.5F;
    return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(aligned) - 0x3f000000U))};
  }
  const std::uint32_t rounded = magnitude + 0xfffU + (magnitude >> 13 & 1U);
  return {static_cast<std::uint16_t>(sign | (rounded - 0x38000000U) >> 13)};
}

Fp8E4M3 to_fp8_e4m3(float x) {
  const auto sign = static_cast<std::uint8_t>(std::signbit(x) ? 0x80 : 0);
  const float magnitude = std::fabs(x);
  if (!(magnitude < 464.0F)) return {static_cast<std::uint8_t>(sign | (magnitude == 464.0F ? 0x7eU : 0x7fU))};
  if (magnitude < 0x1p-6F)
    return {static_cast<std::uint8_t>(sign | static_cast<std::uint8_t>(std::nearbyint(magnitude * 0x1p9F)))};
  const auto bits = std::bit_cast<std::uint32_t>(magnitude);
  const std::uint32_t rounded = bits + 0x7ffffU + (bits >> 20 & 1U);
  return {static_cast<std::uint8_t>(sign | (rounded - (120U << 23)) >> 20)};
}

void widen(const void* data, DType type, std::int64_t n, float* out) {
  switch (type) {
    case DType::kF32:
      std::memcpy(out, data, static_cast<std::size_t>(n) * 4);
      return;
    case DType::kF16:
      return widen_as<Fp16>(data, n, out, [](Fp16 v) { return to_float(v); });
    case DType::kBf16:
      return widen_as<Bf16>(data, n, out, [](Bf16 v) { return to_float(v); });
    case DType::kF8E4M3:
      return widen_as<Fp8E4M3>(data, n, out, [](Fp8E4M3 v) { return to_float(v); });
    case DType::kF8E8M0:  // a power of two with bias 127; 255 is NaN
      return widen_as<std::uint8_t>(data, n, out, [](std::uint8_t v) {
        return v == 255 ? std::numeric_limits<float>::quiet_NaN()
                        : std::ldexp(1.0F, static_cast<int>(v) - 127);
      });
    case DType::kF64:
      return widen_as<double>(data, n, out, [](double v) { return static_cast<float>(v); });
    case DType::kI64:
      return widen_as<std::int64_t>(data, n, out, [](std::int64_t v) { return static_cast<float>(v); });
    case DType::kI32:
      return widen_as<std::int32_t>(data, n, out, [](std::int32_t v) { return static_cast<float>(v); });
    case DType::kI16:
      return widen_as<std::int16_t>(data, n, out, [](std::int16_t v) { return static_cast<float>(v); });
    case DType::kI8:
      return widen_as<std::int8_t>(data, n, out, [](std::int8_t v) { return static_cast<float>(v); });
    case DType::kU8:
    case DType::kBool:
      return widen_as<std::uint8_t>(data, n, out, [](std::uint8_t v) { return static_cast<float>(v); });
  }
}

void narrow(const float* data, DType type, std::int64_t n, void* out) {
  auto* bytes = static_cast<std::byte*>(out);
  for (std::int64_t i = 0; i < n; ++i) {
    if (type == DType::kF32) {
      std::memcpy(bytes + i * 4, data + i, 4);
    } else {
      LATENT8_CHECK(type == DType::kF16 || type == DType::kBf16);
      const std::uint16_t bits = type == DType::kF16 ? to_fp16(data[i]).bits : to_bf16(data[i]).bits;
      std::memcpy(bytes + i * 2, &bits, 2);
    }
  }
}

}  // namespace latent8
