#include "quant/calibrate/activation_store.h"

#include <cstring>

#include "base/check.h"
#include "base/checksum.h"
#include "base/error.h"

namespace latent8 {

ActivationStore ActivationStore::in_memory(std::int64_t rows, std::int64_t cols) {
  ActivationStore store(rows, cols);
  store.memory_ = Matrix<float>(rows, cols);
  return store;
}

ActivationStore ActivationStore::within(MemoryBudget& budget, const std::filesystem::path& path,
                                        std::int64_t rows, std::int64_t cols) {
  auto share = budget.take(rows * cols * static_cast<std::int64_t>(sizeof(float)));
  if (!share) return in_file(path, rows, cols);
  ActivationStore store = in_memory(rows, cols);
  store.share_ = std::move(share);
  return store;
}

ActivationStore ActivationStore::temporary(MemoryBudget& budget, const std::filesystem::path& dir,
                                           std::int64_t rows, std::int64_t cols) {
  const std::filesystem::path path = dir / "spill.bin";
  ActivationStore store = within(budget, path, rows, cols);
  if (store.file_) std::filesystem::remove(path);
  return store;
}

ActivationStore ActivationStore::in_file(const std::filesystem::path& path, std::int64_t rows,
                                         std::int64_t cols) {
  ActivationStore store(rows, cols);
  store.file_ = StateFile::create(path, store.file_bytes());
  store.sums_.resize(static_cast<std::size_t>(rows));
  return store;
}

ActivationStore ActivationStore::existing(const std::filesystem::path& path, std::int64_t rows,
                                          std::int64_t cols) {
  ActivationStore store(rows, cols);
  store.file_ = StateFile::open(path, store.file_bytes());
  store.sums_.resize(static_cast<std::size_t>(rows) + 1);
  store.file_->read_at(store.sums_at(), std::as_writable_bytes(std::span(store.sums_)));
  const std::uint64_t of_sums = store.sums_.back();
  store.sums_.pop_back();
  if (checksum(std::as_bytes(std::span(store.sums_))) != of_sums) store.refuse_damage();
  return store;
}

void ActivationStore::take_sum(std::int64_t row, const float* values) {
  sums_[static_cast<std::size_t>(row)] =
      checksum(std::as_bytes(std::span(values, static_cast<std::size_t>(cols_))));
}

void ActivationStore::check_sum(std::int64_t row, const float* values) const {
  const auto bytes = std::as_bytes(std::span(values, static_cast<std::size_t>(cols_)));
  if (checksum(bytes) != sums_[static_cast<std::size_t>(row)]) refuse_damage();
}

void ActivationStore::refuse_damage() const {
  throw_error(ErrorCode::kCorrupt,
              "'{}': the activations are not what was written: the disk or the memory changed them; start "
              "afresh (latent8 quantize --no-resume, or remove the unfinished folder)",
              file_->path().string());
}

void ActivationStore::read(std::int64_t row, Mat<float> out) const {
  LATENT8_CHECK(row >= 0 && row + out.rows <= rows_ && out.cols == cols_);
  if (cols_ == 0) return;  // models without q_lora_rank have no c_q
  const auto bytes = static_cast<std::size_t>(row_bytes());
  if (file_ && out.row_stride == cols_) {
    file_->read_at(row * row_bytes(),
                   std::as_writable_bytes(std::span(out.data, static_cast<std::size_t>(out.rows * cols_))));
    for (std::int64_t r = 0; r < out.rows; ++r) check_sum(row + r, out.row(r));
    return;
  }
  for (std::int64_t r = 0; r < out.rows; ++r) {
    if (!file_) {
      std::memcpy(out.row(r), memory_.row(row + r), bytes);
      continue;
    }
    file_->read_at((row + r) * row_bytes(), std::as_writable_bytes(out.row_span(r)));
    check_sum(row + r, out.row(r));
  }
}

void ActivationStore::write(std::int64_t row, ConstMat<float> in) {
  LATENT8_CHECK(row >= 0 && row + in.rows <= rows_ && in.cols == cols_);
  if (cols_ == 0) return;
  const auto bytes = static_cast<std::size_t>(row_bytes());
  for (std::int64_t r = 0; r < in.rows; ++r) {
    if (!file_) {
      std::memcpy(memory_.row(row + r), in.row(r), bytes);
      continue;
    }
    take_sum(row + r, in.row(r));
    file_->write_at((row + r) * row_bytes(), std::as_bytes(in.row_span(r)));
  }
}

void ActivationStore::save(const std::filesystem::path& path) {
  if (!file_) {
    file_ = StateFile::create(path, file_bytes());
    sums_.resize(static_cast<std::size_t>(rows_));
    for (std::int64_t r = 0; r < rows_; ++r) take_sum(r, memory_.row(r));
    file_->write_at(0, std::as_bytes(std::span(memory_.row(0), static_cast<std::size_t>(rows_ * cols_))));
    memory_ = {};
    share_.reset();
  }
  LATENT8_CHECK(file_->path() == path);
  const std::uint64_t of_sums = checksum(std::as_bytes(std::span(sums_)));
  file_->write_at(sums_at(), std::as_bytes(std::span(sums_)));
  file_->write_at(sums_at() + rows_ * static_cast<std::int64_t>(sizeof(of_sums)),
                  std::as_bytes(std::span(&of_sums, 1)));
  file_->sync();
}

}  // namespace latent8
