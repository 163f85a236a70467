#pragma once
// ActivationCodes as rows: [m][k] codes, then [m] int32 sums of the codes, which a dot product of u8 weights and s8
// codes needs.

#include <cstdint>

#include "kernels/activation_codes.h"

namespace latent8 {
namespace {

inline std::int64_t round_up_64(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

inline std::int64_t code_rows_bytes(std::int64_t m, std::int64_t k) {
  return round_up_64(m * k) + round_up_64(m * 4);
}
inline std::int8_t* codes_of_row(const ActivationCodes& rows, std::int64_t i) {
  return reinterpret_cast<std::int8_t*>(rows.codes) + i * rows.k;
}
inline std::int32_t* sum_of_row(const ActivationCodes& rows, std::int64_t i) {
  return reinterpret_cast<std::int32_t*>(rows.codes + round_up_64(rows.m * rows.k)) + i;
}

}  // namespace
}  // namespace latent8
