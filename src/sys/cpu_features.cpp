#include "sys/cpu_features.h"

#include <cpuid.h>

#include <array>
#include <cstring>

namespace latent8 {
namespace {

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

std::uint64_t xgetbv0() {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

bool bit(unsigned value, int index) { return (value >> index & 1U) != 0; }

std::uint32_t detect() {
  const Registers one = cpuid(1, 0), seven = cpuid(7, 0), seven_one = cpuid(7, 1);
  if (!bit(one.ecx, 27)) return 0;  // OSXSAVE
  const std::uint64_t saved = xgetbv0();
  const bool saves_ymm = (saved & 0x6) == 0x6, saves_zmm = (saved & 0xe6) == 0xe6;
  std::uint32_t mask = 0;
  if (saves_ymm && bit(seven.ebx, 5) && bit(one.ecx, 12) && bit(one.ecx, 29)) mask |= kAvx2;
  if (saves_zmm && bit(seven.ebx, 16) && bit(seven.ebx, 30) && bit(seven.ebx, 31) && bit(seven.ebx, 17)) {
    mask |= kAvx512;
    if (bit(seven.ecx, 11)) mask |= kAvx512Vnni;
    if (bit(seven.ecx, 1)) mask |= kAvx512Vbmi;
    if (bit(seven_one.eax, 5)) mask |= kAvx512Bf16;
  }
  return mask;
}

}  // namespace

std::uint32_t cpu_features() {
  static const std::uint32_t mask = detect();
  return mask;
}

std::string cpu_name() {
  std::array<char, 49> name{};
  for (unsigned i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002U + i, 0);
    std::memcpy(name.data() + 16 * i, &r, 16);
  }
  std::string text(name.data());
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text.empty() ? "unknown" : text;
}

std::string feature_names(std::uint32_t mask) {
  constexpr std::array<const char*, 5> kNames{"avx2", "avx512", "avx512_vnni", "avx512_vbmi", "avx512_bf16"};
  std::string out;
  for (unsigned i = 0; i < kNames.size(); ++i)
    if ((mask >> i & 1U) != 0) out += (out.empty() ? "" : " ") + std::string(kNames[i]);
  return out.empty() ? "none" : out;
}

}  // namespace latent8
