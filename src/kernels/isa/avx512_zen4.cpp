// The avx512_zen4 kernel table. This file and what it includes are compiled with the flags of the ISA; its
// table is the only symbol that leaves it (tools/check_symbols).

#include "kernels/isa/avx512_zen4.h"

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
#include "kernels/isa/avx512_transpose.h"
#include "kernels/isa/avx512_vbmi_weights.h"
#include "kernels/isa/tables.h"

namespace latent8 {
namespace {
struct Avx512Zen4Attend : Avx512Zen4, Avx512Transpose {};
struct Avx512Zen4Quantizer : Avx512Zen4, Avx512VbmiWeights {
  using F = Avx512Zen4::F;
  using I = Avx512Zen4::I;
};
}  // namespace

const KernelTable kAvx512Zen4Table{
    .name = "avx512_zen4",
    .required = kAvx2 | kAvx512 | kAvx512Vnni | kAvx512Vbmi | kAvx512Bf16,
    .gemm_f32 = &gemm_f32<Avx512Zen4>,
    .gemm_nn_f32 = &gemm_nn_f32<Avx512Zen4>,
    .gemm_s8 = &gemm_s8<Avx512Zen4>,
    .quantize_dynamic = &quantize_dynamic<Avx512Zen4>,
    .quantize_static = &quantize_static<Avx512Zen4>,
    .widen_weight = &widen_weight<Avx512Zen4Quantizer>,
    .weight_amax = &weight_amax<Avx512Zen4Quantizer>,
    .weight_codes = &weight_codes<Avx512Zen4Quantizer>,
    .rms_norm = &rms_norm<Avx512Zen4>,
    .rope = &rope<Avx512Zen4>,
    .silu_mul = &silu_mul<Avx512Zen4>,
    .mla_attend_s8 = &mla_attend_s8<Avx512Zen4Attend>,
    .mla_attend_f16 = &mla_attend_float<Avx512Zen4Attend, Fp16Keys>,
    .mla_attend_f32 = &mla_attend_float<Avx512Zen4Attend, Fp32Keys>,
    .peak_s8 = &peak_s8<Avx512Zen4>,
    .peak_f32 = &peak_f32<Avx512Zen4>,
    .peak_bf16 = &peak_bf16<Avx512Zen4>,
    .read_memory = &read_memory<Avx512Zen4>,
};

}  // namespace latent8
