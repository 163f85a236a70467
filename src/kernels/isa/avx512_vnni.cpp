// The avx512_vnni kernel table.

#include "kernels/isa/avx512_vnni.h"

#include "kernels/isa/avx512_transpose.h"
#include "kernels/isa/avx512_weights.h"
#include "kernels/isa/table_of.h"

namespace latent8 {
namespace {
struct Avx512VnniTrait : Avx512Vnni, Avx512Transpose, Avx512Weights {};
}  // namespace

constinit const KernelTable kAvx512VnniTable =
    table_of<Avx512VnniTrait>("avx512_vnni", kAvx2 | kAvx512 | kAvx512Vnni);

}  // namespace latent8
