#include "kernels/kernel_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/aligned_buffer.h"
#include "support/errors.h"
#include "support/kernels.h"
#include "sys/cpu_features.h"

namespace latent8 {
namespace {

using testing::HasSubstr;

using PeakTest = KernelTest;

TEST(KernelTable, ListsTheBestTableFirstAndScalarLast) {
  std::vector<std::string> names;
  for (const KernelTable* table : all_tables()) names.emplace_back(table->name);

  EXPECT_EQ(names, (std::vector<std::string>{"avx512_zen4", "avx512_vnni", "avx2", "scalar"}));
}

TEST(KernelTable, ScalarRunsOnEveryCpu) { EXPECT_TRUE(is_supported(find_table("scalar"))); }

TEST(KernelTable, ChoosesASupportedTable) { EXPECT_TRUE(is_supported(kernels())); }

TEST(KernelTable, SaysWhichNamesExistWhenLatent8IsaIsUnknown) {
  const std::string message =
      error_of(ErrorCode::kInvalidArgument, [] { static_cast<void>(find_table("avx1024")); });

  EXPECT_THAT(message, HasSubstr("LATENT8_ISA=avx1024"));
  EXPECT_THAT(message, HasSubstr("avx512_zen4, avx512_vnni, avx2, scalar"));
}

TEST(KernelTable, SaysWhatTheCpuLacksWhenLatent8IsaCannotRun) {
  const KernelTable* missing = nullptr;
  for (const KernelTable* table : all_tables())
    if (!is_supported(*table)) missing = table;
  if (missing == nullptr) GTEST_SKIP() << "this CPU runs every table";

  const std::string message =
      error_of(ErrorCode::kInvalidArgument, [&] { static_cast<void>(find_table(missing->name)); });

  EXPECT_THAT(message, HasSubstr(feature_names(missing->required)));
}

TEST_P(PeakTest, CountsTheMultiplyAddsThatItRuns) {
  std::int32_t codes = 1;
  float sum = 1.0F;

  EXPECT_EQ(table().peak_s8(10, &codes), 10 * table().peak_s8(1, &codes));
  EXPECT_EQ(table().peak_f32(10, &sum), 10 * table().peak_f32(1, &sum));
  if (table().peak_bf16 != nullptr) EXPECT_EQ(table().peak_bf16(10, &sum), 10 * table().peak_bf16(1, &sum));
}

TEST_P(PeakTest, ReadsEveryLineOfMemory) {
  AlignedBuffer<std::int32_t> data(4096);
  for (std::int64_t i = 0; i < data.size(); i += 16) data[i] = 1;  // one in each cache line

  EXPECT_EQ(table().read_memory(data.data(), data.size() * 4), 256);
}

INSTANTIATE_TEST_SUITE_P(Tables, PeakTest, every_table(), table_name);

}  // namespace
}  // namespace latent8
