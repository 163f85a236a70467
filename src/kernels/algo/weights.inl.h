#pragma once
// Stored weights widened to fp32 lanes, by type; shared by the float GEMMs.

#include <cstdint>

#include "kernels/fp8_block.h"
#include "kernels/gemm_args.h"

namespace latent8 {
namespace {

template <class Isa, WeightType kType>
struct Weights {
  using F = typename Isa::F;

  static constexpr std::int64_t element_bytes() {
    return kType == WeightType::kF32 ? 4 : kType == WeightType::kF8E4M3 ? 1 : 2;
  }
  static const char* address(const void* b, std::int64_t index) {
    return static_cast<const char*>(b) + index * element_bytes();
  }

  // kLanes weights from element `index`; fp8 is multiplied by its block's scale before any use.
  static F load(const void* b, std::int64_t index, F scale) {
    const char* p = address(b, index);
    if constexpr (kType == WeightType::kF32) return Isa::load(reinterpret_cast<const float*>(p));
    if constexpr (kType == WeightType::kBf16) return Isa::load_bf16(p);
    if constexpr (kType == WeightType::kF16) return Isa::load_fp16(p);
    if constexpr (kType == WeightType::kF8E4M3) return Isa::mul(Isa::load_fp8(p), scale);
  }
  static F load_n(const void* b, std::int64_t index, F scale, int n) {
    const char* p = address(b, index);
    if constexpr (kType == WeightType::kF32) return Isa::load_n(reinterpret_cast<const float*>(p), n);
    if constexpr (kType == WeightType::kBf16) return Isa::load_bf16_n(p, n);
    if constexpr (kType == WeightType::kF16) return Isa::load_fp16_n(p, n);
    if constexpr (kType == WeightType::kF8E4M3) return Isa::mul(Isa::load_fp8_n(p, n), scale);
  }

  // The scale of a row and column of the whole tensor, and where the columns of one scale end.
  static F scale(const GemmF32Args& p, std::int64_t row, std::int64_t col) {
    if constexpr (kType == WeightType::kF8E4M3)
      return Isa::set1(p.b_scale[row / kFp8Block * p.b_scale_stride + col / kFp8Block]);
    return Isa::zero();
  }
  static std::int64_t block_end(std::int64_t at, std::int64_t end) {
    if constexpr (kType == WeightType::kF8E4M3) return end - at > kFp8Block ? at + kFp8Block : end;
    return end;
  }
};

}  // namespace
}  // namespace latent8
