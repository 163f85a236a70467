// The avx2 kernel table. This file and what it includes are compiled with the flags of the ISA; its table is
// the only symbol that leaves it (tools/check_symbols).

#include "kernels/isa/avx2.h"

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
#include "kernels/isa/avx2_transpose.h"
#include "kernels/isa/avx2_weights.h"
#include "kernels/isa/tables.h"

namespace latent8 {
namespace {
struct Avx2Attend : Avx2, Avx2Transpose {};
struct Avx2Quantizer : Avx2, Avx2Weights {
  using F = Avx2::F;
  using I = Avx2::I;
};
}  // namespace

const KernelTable kAvx2Table{
    .name = "avx2",
    .required = kAvx2,
    .gemm_f32 = &gemm_f32<Avx2>,
    .gemm_nn_f32 = &gemm_nn_f32<Avx2>,
    .gemm_s8 = &gemm_s8<Avx2>,
    .quantize_dynamic = &quantize_dynamic<Avx2>,
    .quantize_static = &quantize_static<Avx2>,
    .widen_weight = &widen_weight<Avx2Quantizer>,
    .weight_amax = &weight_amax<Avx2Quantizer>,
    .weight_codes = &weight_codes<Avx2Quantizer>,
    .rms_norm = &rms_norm<Avx2>,
    .rope = &rope<Avx2>,
    .silu_mul = &silu_mul<Avx2>,
    .mla_attend_s8 = &mla_attend_s8<Avx2Attend>,
    .mla_attend_f16 = &mla_attend_float<Avx2Attend, Fp16Keys>,
    .mla_attend_f32 = &mla_attend_float<Avx2Attend, Fp32Keys>,
    .peak_s8 = &peak_s8<Avx2>,
    .peak_f32 = &peak_f32<Avx2>,
    .peak_bf16 = nullptr,
    .read_memory = &read_memory<Avx2>,
};

}  // namespace latent8
