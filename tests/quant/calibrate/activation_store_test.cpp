#include "quant/calibrate/activation_store.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

constexpr std::int64_t kRows = 5, kCols = 3;

Matrix<float> counted(std::int64_t rows, float first) {
  Matrix<float> m(rows, kCols);
  for (std::int64_t i = 0; i < rows * kCols; ++i) m.row(0)[i] = first + static_cast<float>(i);
  return m;
}

std::vector<float> values(const ActivationStore& store) {
  Matrix<float> m(kRows, kCols);
  store.read(0, m.view());
  return {m.row(0), m.row(0) + kRows * kCols};
}

TEST(ActivationStore, HoldsTheSameValuesInMemoryAndInAFile) {
  TempDir dir;
  ActivationStore memory = ActivationStore::in_memory(kRows, kCols);
  ActivationStore file = ActivationStore::in_file(dir / "x.bin", kRows, kCols);
  for (ActivationStore* store : {&memory, &file}) {
    store->write(0, counted(kRows, 1.0F).view());
    store->write(3, counted(2, 100.0F).view());
    store->write_row(1, counted(1, -5.0F).row(0));
  }
  EXPECT_EQ(values(memory), values(file));
  EXPECT_EQ(values(file)[3], -5.0F);
  EXPECT_EQ(values(file)[14], 105.0F);
}

TEST(ActivationStore, ReadsRowsThatLieApart) {
  TempDir dir;
  ActivationStore file = ActivationStore::in_file(dir / "x.bin", kRows, kCols);
  file.write(0, counted(kRows, 0.0F).view());
  Matrix<float> wide(2, kCols + 4);
  file.read(2, wide.view().col_range(1, 1 + kCols));
  EXPECT_EQ(wide.row(0)[1], 6.0F);
  EXPECT_EQ(wide.row(1)[3], 11.0F);
}

TEST(ActivationStore, IsFoundAgainByALaterRun) {
  TempDir dir;
  MemoryBudget budget(1 << 20);
  ActivationStore store = ActivationStore::within(budget, dir / "x.bin", kRows, kCols);
  store.write(0, counted(kRows, 2.0F).view());
  store.save(dir / "x.bin");
  EXPECT_EQ(values(ActivationStore::existing(dir / "x.bin", kRows, kCols)), values(store));
  EXPECT_EQ(budget.left(), 1 << 20);
}

TEST(ActivationStore, RefusesAFileOfAnotherSize) {
  TempDir dir;
  dir.write("x.bin", "short");
  error_of(ErrorCode::kCorrupt, [&] { ActivationStore::existing(dir / "x.bin", kRows, kCols); });
}

TEST(ActivationStore, RefusesABitThatFlippedInItsFile) {
  TempDir dir;
  {
    ActivationStore store = ActivationStore::in_memory(kRows, kCols);
    store.write(0, counted(kRows, 2.0F).view());
    store.save(dir / "x.bin");
  }
  for (std::uintmax_t byte = 0; byte < std::filesystem::file_size(dir / "x.bin"); ++byte) {
    flip_bit(dir / "x.bin", byte, static_cast<int>(byte % 8));
    error_of(ErrorCode::kCorrupt, [&] { values(ActivationStore::existing(dir / "x.bin", kRows, kCols)); });
    flip_bit(dir / "x.bin", byte, static_cast<int>(byte % 8));
  }
  EXPECT_EQ(values(ActivationStore::existing(dir / "x.bin", kRows, kCols))[0], 2.0F);
}

TEST(ActivationStore, NoticesABitThatFlipsWhileItIsInUse) {
  TempDir dir;
  ActivationStore store = ActivationStore::in_file(dir / "x.bin", kRows, kCols);
  store.write(0, counted(kRows, 2.0F).view());
  flip_bit(dir / "x.bin", 2, 1);
  error_of(ErrorCode::kCorrupt, [&] { values(store); });
}

TEST(ActivationStore, SpillsWhereTheBudgetHasNoRoom) {
  TempDir dir;
  MemoryBudget budget(kRows * kCols * 4);
  {
    const ActivationStore first = ActivationStore::temporary(budget, dir.path(), kRows, kCols);
    EXPECT_EQ(budget.left(), 0);
    ActivationStore second = ActivationStore::temporary(budget, dir.path(), kRows, kCols);
    second.write(0, counted(kRows, 4.0F).view());
    EXPECT_EQ(values(second)[0], 4.0F);
    EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  }
  EXPECT_EQ(budget.left(), kRows * kCols * 4);
}

}  // namespace
}  // namespace latent8
