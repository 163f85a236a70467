#pragma once
// Activations to int8 codes, dynamic (a scale per row) and static (one scale per tensor).

#include <cstdint>
#include <cstring>

#include "kernels/activation_codes.h"
#include "kernels/algo/code_rows.inl.h"

namespace latent8 {
namespace {

template <class Isa>
inline float row_amax(const float* x, std::int64_t k) {  // of the numbers; NaN is passed over
  auto amax = Isa::zero();
  std::int64_t at = 0;
  for (; at + Isa::kLanes <= k; at += Isa::kLanes) amax = Isa::max(Isa::abs(Isa::load(x + at)), amax);
  if (at < k) amax = Isa::max(Isa::abs(Isa::load_n(x + at, static_cast<int>(k - at))), amax);
  return Isa::reduce_max(amax);
}

// Integral lanes within [-128, 127]; NaN becomes 0.
template <class Isa>
inline typename Isa::F to_codes(typename Isa::F x) {
  const auto code = Isa::round(Isa::zero_if_nan(x));
  return Isa::max(Isa::set1(-128.0F), Isa::min(Isa::set1(127.0F), code));
}

// Returns the sum of the codes. It is added as fp32, exact while k <= 131,072.
template <class Isa>
inline std::int32_t quantize_row(const float* x, std::int64_t k, float scale, float offset, std::int8_t* q) {
  const auto by = Isa::set1(scale), shift = Isa::set1(offset);
  auto sum = Isa::zero();
  std::int64_t at = 0;
  for (; at + Isa::kLanes <= k; at += Isa::kLanes) {
    const auto codes = to_codes<Isa>(Isa::add(Isa::div(Isa::load(x + at), by), shift));
    Isa::store_s8(q + at, codes);
    sum = Isa::add(sum, codes);
  }
  if (at < k) {
    const int rest = static_cast<int>(k - at);
    float values[Isa::kLanes];
    std::int8_t bytes[Isa::kLanes];
    const auto codes = to_codes<Isa>(Isa::add(Isa::div(Isa::load_n(x + at, rest), by), shift));
    Isa::store_s8(bytes, codes);
    std::memcpy(q + at, bytes, static_cast<std::size_t>(rest));
    Isa::store(values, codes);
    sum = Isa::add(sum, Isa::load_n(values, rest));  // the lanes beyond k hold the offset
  }
  return static_cast<std::int32_t>(Isa::reduce_add(sum));
}

// Codes of a row against its own largest magnitude: the scale, and the sum of the codes.
struct RowScaleAndSum {
  float scale;
  std::int32_t sum;
};
template <class Isa>
inline RowScaleAndSum quantize_row_dynamic(const float* x, std::int64_t k, std::int8_t* q) {
  const float scale = row_amax<Isa>(x, k) / 127.0F;
  if (scale > 0.0F) return {scale, quantize_row<Isa>(x, k, scale, 0.0F, q)};
  std::memset(q, 0, static_cast<std::size_t>(k));
  return {scale, 0};
}

template <class Isa>
void quantize_dynamic(const QuantizeDynamicArgs& p) {
  for (std::int64_t i = 0; i < p.rows; ++i) {
    const std::int64_t row = p.first_row + i;
    const RowScaleAndSum got =
        quantize_row_dynamic<Isa>(p.x + i * p.x_stride, p.to.k, codes_of_row(p.to, row));
    p.to.scale[row] = got.scale;
    *sum_of_row(p.to, row) = got.sum;
  }
}

template <class Isa>
void quantize_static(const QuantizeStaticArgs& p) {
  for (std::int64_t i = 0; i < p.rows; ++i) {
    const std::int64_t row = p.first_row + i;
    *sum_of_row(p.to, row) =
        quantize_row<Isa>(p.x + i * p.x_stride, p.to.k, p.scale, p.offset, codes_of_row(p.to, row));
  }
}

template <class Isa>
void quantize_row_major(const QuantizeRowMajorArgs& p) {
  for (std::int64_t i = 0; i < p.m; ++i)
    p.scale[i] = quantize_row_dynamic<Isa>(p.x + i * p.x_stride, p.k, p.q + i * p.k).scale;
}

}  // namespace
}  // namespace latent8
