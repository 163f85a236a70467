// The avx512_vnni kernel table. This file and what it includes are compiled with the flags of the ISA; its
// table is the only symbol that leaves it (tools/check_symbols).

#include "kernels/isa/avx512_vnni.h"

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
#include "kernels/isa/avx512_weights.h"
#include "kernels/isa/tables.h"

namespace latent8 {
namespace {
struct Avx512VnniAttend : Avx512Vnni, Avx512Transpose {};
struct Avx512VnniQuantizer : Avx512Vnni, Avx512Weights {
  using F = Avx512Vnni::F;
  using I = Avx512Vnni::I;
};
}  // namespace

const KernelTable kAvx512VnniTable{
    .name = "avx512_vnni",
    .required = kAvx2 | kAvx512 | kAvx512Vnni,
    .gemm_f32 = &gemm_f32<Avx512Vnni>,
    .gemm_nn_f32 = &gemm_nn_f32<Avx512Vnni>,
    .gemm_s8 = &gemm_s8<Avx512Vnni>,
    .quantize_dynamic = &quantize_dynamic<Avx512Vnni>,
    .quantize_static = &quantize_static<Avx512Vnni>,
    .widen_weight = &widen_weight<Avx512VnniQuantizer>,
    .weight_amax = &weight_amax<Avx512VnniQuantizer>,
    .weight_codes = &weight_codes<Avx512VnniQuantizer>,
    .rms_norm = &rms_norm<Avx512Vnni>,
    .rope = &rope<Avx512Vnni>,
    .silu_mul = &silu_mul<Avx512Vnni>,
    .mla_attend_s8 = &mla_attend_s8<Avx512VnniAttend>,
    .mla_attend_f16 = &mla_attend_float<Avx512VnniAttend, Fp16Keys>,
    .mla_attend_f32 = &mla_attend_float<Avx512VnniAttend, Fp32Keys>,
    .peak_s8 = &peak_s8<Avx512Vnni>,
    .peak_f32 = &peak_f32<Avx512Vnni>,
    .peak_bf16 = nullptr,
    .read_memory = &read_memory<Avx512Vnni>,
};

}  // namespace latent8
