#pragma once
// The kernel table of a trait: every algorithm of algo/ compiled for it. To be included by the one file of an ISA,
// which is compiled with the flags of that ISA; the table is the only symbol that may leave it
// (tools/check_symbols.py).

#include "kernels/algo/attend_tile.inl.h"
#include "kernels/algo/gemm_f32.inl.h"
#include "kernels/algo/gemm_nn_f32.inl.h"
#include "kernels/algo/gemm_s8.inl.h"
#include "kernels/algo/mla_attend_float.inl.h"
#include "kernels/algo/mla_attend_s8.inl.h"
#include "kernels/algo/peak.inl.h"
#include "kernels/algo/quantize.inl.h"
#include "kernels/algo/rms_norm.inl.h"
#include "kernels/algo/rope.inl.h"
#include "kernels/algo/silu_mul.inl.h"
#include "kernels/algo/weight_rows.inl.h"
#include "kernels/isa/tables.h"
#include "kernels/isa/trait.h"

namespace latent8 {
namespace {

template <class Isa>
constexpr KernelTable table_of(const char* name, std::uint32_t required) {
  static_assert(KernelTrait<Isa>, "the compiler's note says which function of isa/trait.h is missing");
  KernelTable table{
      .name = name,
      .required = required,
      .code_bytes = &code_rows_bytes,
      .code_rows = 1,
      .quantize_dynamic = &quantize_dynamic<Isa>,
      .quantize_static = &quantize_static<Isa>,
      .quantize_row_major = &quantize_row_major<Isa>,
      .gemm_rows = 256,  // what packing a panel of weights is worth
      .gemm_cols = 64,
      .gemm_f32 = &gemm_f32<Isa>,
      .gemm_nn_f32 = &gemm_nn_f32<Isa>,
      .gemm_s8 = &gemm_s8<Isa>,
      .gemm_s8_scratch_bytes = &gemm_s8_scratch_bytes<Isa>,
      .widen_weight = &widen_weight<Isa>,
      .weight_amax = &weight_amax<Isa>,
      .weight_codes = &weight_codes<Isa>,
      .rms_norm = &rms_norm<Isa>,
      .rope = &rope<Isa>,
      .silu_mul = &silu_mul<Isa>,
      .attend_rows = kAttendMaxRows,
      .attend_tile_keys = kTileKeys,
      .attend_scratch_bytes = &attend_tile_scratch_bytes,
      .mla_attend_s8 = &mla_attend_s8<Isa>,
      .mla_attend_f16 = &mla_attend_float<Isa, Fp16Keys>,
      .mla_attend_f32 = &mla_attend_float<Isa, Fp32Keys>,
      .peak_s8 = &peak_s8<Isa>,
      .peak_f32 = &peak_f32<Isa>,
      .peak_bf16 = nullptr,
      .read_memory = &read_memory<Isa>,
  };
  if constexpr (Bf16Dot<Isa>) table.peak_bf16 = &peak_bf16<Isa>;
  return table;
}

}  // namespace
}  // namespace latent8
