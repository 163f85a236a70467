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

}  // namespace latent8
