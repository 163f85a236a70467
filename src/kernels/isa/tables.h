#pragma once
// The tables that the ISA files define, and the feature bits they state. Declarations only: this is compiled
// with ISA flags too.

#include "kernels/kernel_table.h"
#include "sys/cpu_features.h"

namespace latent8 {

extern const KernelTable kScalarTable;
extern const KernelTable kAvx2Table;
extern const KernelTable kAvx512VnniTable;
extern const KernelTable kAvx512Zen4Table;

}  // namespace latent8
