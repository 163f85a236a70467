// The scalar kernel table. This file and what it includes are compiled with the flags of the ISA; its table
// is the only symbol that leaves it (tools/check_symbols).

#include "kernels/isa/scalar.h"

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
#include "kernels/isa/scalar_transpose.h"
#include "kernels/isa/scalar_weights.h"
#include "kernels/isa/tables.h"

namespace latent8 {
namespace {
struct ScalarAttend : Scalar, ScalarTranspose {};
struct ScalarQuantizer : Scalar, ScalarWeights {
  using F = Scalar::F;
  using I = Scalar::I;
};
}  // namespace

const KernelTable kScalarTable{
    .name = "scalar",
    .required = 0,
    .gemm_f32 = &gemm_f32<Scalar>,
    .gemm_nn_f32 = &gemm_nn_f32<Scalar>,
    .gemm_s8 = &gemm_s8<Scalar>,
    .quantize_dynamic = &quantize_dynamic<Scalar>,
    .quantize_static = &quantize_static<Scalar>,
    .widen_weight = &widen_weight<ScalarQuantizer>,
    .weight_amax = &weight_amax<ScalarQuantizer>,
    .weight_codes = &weight_codes<ScalarQuantizer>,
    .rms_norm = &rms_norm<Scalar>,
    .rope = &rope<Scalar>,
    .silu_mul = &silu_mul<Scalar>,
    .mla_attend_s8 = &mla_attend_s8<ScalarAttend>,
    .mla_attend_f16 = &mla_attend_float<ScalarAttend, Fp16Keys>,
    .mla_attend_f32 = &mla_attend_float<ScalarAttend, Fp32Keys>,
    .peak_s8 = &peak_s8<Scalar>,
    .peak_f32 = &peak_f32<Scalar>,
    .peak_bf16 = nullptr,
    .read_memory = &read_memory<Scalar>,
};

}  // namespace latent8
