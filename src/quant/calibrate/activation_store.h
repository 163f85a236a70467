#pragma once
// Activations of all calibration tokens, in memory or in a file.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/views.h"
#include "quant/output/state_file.h"
#include "quant/plan/memory_budget.h"

namespace latent8 {

// A float32 matrix of fixed size that is read and written by rows. Whether it lies in memory or in a file
// changes no value: of rows in a file a checksum is kept, and compared when they are read. REQUIRES: a row is
// written before it is read. Thread-safety: different rows may be read and written at the same time. Throws:
// Error{kIo} naming the file; {kCorrupt} naming a row that is not what was written.
class ActivationStore {
 public:
  static ActivationStore in_memory(std::int64_t rows, std::int64_t cols);
  static ActivationStore in_file(const std::filesystem::path& path, std::int64_t rows, std::int64_t cols);
  // In memory if the budget has room, which it then has not while the store lives; else in a file of that
  // path.
  static ActivationStore within(MemoryBudget& budget, const std::filesystem::path& path, std::int64_t rows,
                                std::int64_t cols);
  // The same for values that nobody else needs: the file has no name and goes with the store.
  static ActivationStore temporary(MemoryBudget& budget, const std::filesystem::path& dir, std::int64_t rows,
                                   std::int64_t cols);
  // What an earlier run left. Throws: Error{kCorrupt} if the file is missing, of another size, or damaged.
  static ActivationStore existing(const std::filesystem::path& path, std::int64_t rows, std::int64_t cols);

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }

  void read(std::int64_t row, Mat<float> out) const;
  void write(std::int64_t row, ConstMat<float> in);
  void read_row(std::int64_t row, float* out) const { read(row, {out, 1, cols_}); }
  void write_row(std::int64_t row, const float* in) { write(row, {in, 1, cols_}); }
  // Puts everything into `path`, synced; the store lies there from now on.
  void save(const std::filesystem::path& path);

 private:
  ActivationStore(std::int64_t rows, std::int64_t cols) : rows_(rows), cols_(cols) {}
  std::int64_t row_bytes() const { return cols_ * static_cast<std::int64_t>(sizeof(float)); }
  // Rows, their checksums, and the checksum of those.
  std::int64_t sums_at() const { return rows_ * row_bytes(); }
  std::int64_t file_bytes() const {
    return sums_at() + (rows_ + 1) * static_cast<std::int64_t>(sizeof(std::uint64_t));
  }
  void take_sum(std::int64_t row, const float* values);
  void check_sum(std::int64_t row, const float* values) const;
  [[noreturn]] void refuse_damage() const;

  std::int64_t rows_, cols_;
  Matrix<float> memory_;
  std::optional<MemoryBudget::Share> share_;
  std::optional<StateFile> file_;    // none: everything is in memory_
  std::vector<std::uint64_t> sums_;  // [rows] with file_
};

}  // namespace latent8
