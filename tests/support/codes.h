#pragma once
// Activation codes in a table's own order, and back, by the table's own kernels.

#include <cstdint>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/activation_codes.h"
#include "kernels/gemm_args.h"
#include "kernels/kernel_table.h"

namespace latent8 {

// Memory of m rows of k codes, and of their scales.
struct OwnedCodes {
  OwnedCodes(const KernelTable& table, std::int64_t m, std::int64_t k)
      : bytes(table.code_bytes(m, k)), scale(m), codes{bytes.data(), scale.data(), m, k} {
    for (std::byte& b : bytes.span()) b = std::byte{99};
  }
  AlignedBuffer<std::byte> bytes;
  AlignedBuffer<float> scale;
  ActivationCodes codes;
};

// plain [m, k] in the table's order: as floats, quantised with the scale 1.
inline OwnedCodes pack_codes(const KernelTable& table, const std::int8_t* plain, std::int64_t m,
                             std::int64_t k) {
  OwnedCodes out(table, m, k);
  const std::vector<float> x(plain, plain + m * k);
  table.quantize_static({x.data(), out.codes, 0, m, k, 1.0F, 0.0F});
  return out;
}

// The codes [m, k] as gemm_s8 sees them: their product with the unit matrix.
inline std::vector<std::int8_t> unpack_codes(const KernelTable& table, ActivationCodes codes) {
  const std::int64_t m = codes.m, k = codes.k;
  codes.scale = nullptr;
  std::vector<std::int8_t> unit(static_cast<std::size_t>(k * k));
  for (std::int64_t i = 0; i < k; ++i) unit[static_cast<std::size_t>(i * k + i)] = 1;
  const std::vector<float> ones(static_cast<std::size_t>(k), 1.0F);
  std::vector<float> c(static_cast<std::size_t>(m * k));
  AlignedBuffer<char> scratch(table.gemm_s8_scratch_bytes(m, k, k));
  table.gemm_s8({codes, 0, m, unit.data(), k, c.data(), k, ones.data(), nullptr, scratch.data()});
  return {c.begin(), c.end()};
}

}  // namespace latent8
