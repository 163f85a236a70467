#pragma once
// What this CPU can execute, from CPUID and XGETBV (the operating system must save the registers too).

#include <cstdint>
#include <string>

namespace latent8 {

// Bits of a feature mask; a kernel table states the ones it needs.
enum CpuFeature : std::uint32_t {
  kAvx2 = 1U << 0,    // with FMA and F16C
  kAvx512 = 1U << 1,  // F, BW, VL, DQ
  kAvx512Vnni = 1U << 2,
  kAvx512Vbmi = 1U << 3,
  kAvx512Bf16 = 1U << 4,
};

std::uint32_t cpu_features();                   // mask of CpuFeature, detected once
std::string cpu_name();                         // brand string, "unknown" if the CPU has none
std::string feature_names(std::uint32_t mask);  // "avx2 avx512 avx512_vnni"

}  // namespace latent8
