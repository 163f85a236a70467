#include "kernels/kernel_table.h"

#include <array>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "kernels/isa/tables.h"
#include "sys/cpu_features.h"

namespace latent8 {
namespace {

constexpr std::array<const KernelTable*, 4> kTables = {&kAvx512Zen4Table, &kAvx512VnniTable, &kAvx2Table,
                                                       &kScalarTable};

const KernelTable& best_table() {
  for (const KernelTable* table : kTables)
    if (is_supported(*table)) return *table;
  return kScalarTable;
}

}  // namespace

std::span<const KernelTable* const> all_tables() { return kTables; }

bool is_supported(const KernelTable& table) { return (table.required & ~cpu_features()) == 0; }

const KernelTable& find_table(std::string_view name) {
  std::string names;
  for (const KernelTable* table : kTables) {
    if (table->name == name) {
      if (is_supported(*table)) return *table;
      throw_error(ErrorCode::kInvalidArgument,
                  "LATENT8_ISA={}: needs a CPU with {}, this one has {}; unset LATENT8_ISA or set it to {}",
                  name, feature_names(table->required), feature_names(cpu_features()), best_table().name);
    }
    names += names.empty() ? "" : ", ";
    names += table->name;
  }
  throw_error(ErrorCode::kInvalidArgument, "LATENT8_ISA={}: one of {} expected", name, names);
}

const KernelTable& kernels() {
  static const KernelTable& table = []() -> const KernelTable& {
    const char* name = std::getenv("LATENT8_ISA");
    return name == nullptr || *name == '\0' ? best_table() : find_table(name);
  }();
  return table;
}

DType dtype_of(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return DType::kF32;
    case WeightType::kBf16:
      return DType::kBf16;
    case WeightType::kF16:
      return DType::kF16;
    case WeightType::kF8E4M3:
      return DType::kF8E4M3;
  }
  return DType::kF32;
}

std::int64_t gemm_s8_scratch_bytes(std::int64_t) {
  // A panel of the widest table, kLanes rows x kDepth columns (algo/gemm_s8.inl.h), whatever k is.
  return 16 * 2048;
}

}  // namespace latent8
