// The avx2 kernel table.

#include "kernels/isa/avx2.h"

#include "kernels/isa/avx2_transpose.h"
#include "kernels/isa/avx2_weights.h"
#include "kernels/isa/table_of.h"

namespace latent8 {
namespace {
struct Avx2Trait : Avx2, Avx2Transpose, Avx2Weights {};
}  // namespace

constinit const KernelTable kAvx2Table = table_of<Avx2Trait>("avx2", kAvx2);

}  // namespace latent8
