// The avx512_zen4 kernel table.

#include "kernels/isa/avx512_zen4.h"

#include "kernels/isa/avx512_transpose.h"
#include "kernels/isa/avx512_vbmi_weights.h"
#include "kernels/isa/table_of.h"

namespace latent8 {
namespace {
struct Avx512Zen4Trait : Avx512Zen4, Avx512Transpose, Avx512VbmiWeights {};
}  // namespace

constinit const KernelTable kAvx512Zen4Table =
    table_of<Avx512Zen4Trait>("avx512_zen4", kAvx2 | kAvx512 | kAvx512Vnni | kAvx512Vbmi | kAvx512Bf16);

}  // namespace latent8
