// The scalar kernel table.

#include "kernels/isa/scalar.h"

#include "kernels/isa/scalar_transpose.h"
#include "kernels/isa/scalar_weights.h"
#include "kernels/isa/table_of.h"

namespace latent8 {
namespace {
struct ScalarTrait : Scalar, ScalarTranspose, ScalarWeights {};
}  // namespace

constinit const KernelTable kScalarTable = table_of<ScalarTrait>("scalar", 0);

}  // namespace latent8
