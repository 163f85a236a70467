#include "source/source_tensor.h"

#include <cmath>

#include "base/check.h"
#include "base/error.h"
#include "kernels/fp8_block.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

// Weights per fp8 block scale, both ways. Source: docs/format.md, "fp8 sources".

std::int64_t blocks(std::int64_t n) { return (n + kFp8Block - 1) / kFp8Block; }

bool holds_floats(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBf16 || type == DType::kF8E4M3;
}

WeightType weight_type(DType type) {
  if (type == DType::kF8E4M3) return WeightType::kF8E4M3;
  if (type == DType::kBf16) return WeightType::kBf16;
  return type == DType::kF16 ? WeightType::kF16 : WeightType::kF32;
}

}  // namespace

SourceTensor::SourceTensor(const Checkpoint& checkpoint, const std::string& name, WeightFold fold)
    : SourceTensor(checkpoint, nullptr, name, fold) {}

SourceTensor::SourceTensor(const TensorSource& source, const std::string& name, WeightFold fold)
    : SourceTensor(source.checkpoint(), &source, name, fold) {}

SourceTensor::SourceTensor(const Checkpoint& checkpoint, const TensorSource* source, const std::string& name,
                           WeightFold fold)
    : name_(name), source_(source), view_(&checkpoint.get(name)), fold_(fold) {
  if (!holds_floats(view_->dtype))
    throw_error(ErrorCode::kUnsupported, "tensor '{}': type F32, F16, BF16 or F8_E4M3 expected, got {}", name,
                to_string(view_->dtype));
  cols_ = view_->shape.empty() ? 1 : view_->shape.back();
  rows_ = cols_ == 0 ? 0 : view_->elements() / cols_;
  LATENT8_CHECK(fold_.row.empty() || static_cast<std::int64_t>(fold_.row.size()) == rows_);
  LATENT8_CHECK(fold_.col.empty() || static_cast<std::int64_t>(fold_.col.size()) == cols_);
  if (view_->dtype == DType::kF8E4M3) read_block_scales(checkpoint);
}

void SourceTensor::read_block_scales(const Checkpoint& checkpoint) {
  const std::string name = name_ + kBlockScaleSuffix;
  const TensorView& scale = checkpoint.get(name);
  const bool whole = scale.elements() == 1 && !checkpoint.config().weight_block_size;  // of the tensor
  if (!whole && scale.shape != std::vector<std::int64_t>{blocks(rows_), blocks(cols_)})
    throw_error(ErrorCode::kCorrupt, "tensor '{}': shape [{}, {}] expected (blocks of {}), got {}", name,
                blocks(rows_), blocks(cols_), kFp8Block, scale.shape_text());
  if (!holds_floats(scale.dtype) && scale.dtype != DType::kF8E8M0)
    throw_error(ErrorCode::kUnsupported, "tensor '{}': type F32, F16, BF16 or F8_E8M0 expected, got {}", name,
                to_string(scale.dtype));
  AlignedBuffer<std::byte> stored;
  const std::byte* bytes = scale.bytes.data();
  if (source_ != nullptr) {
    stored = AlignedBuffer<std::byte>(static_cast<std::int64_t>(scale.bytes.size()));
    source_->read(name, 0, stored.span());
    bytes = stored.data();
  }
  block_scale_.resize(static_cast<std::size_t>(scale.elements()));
  widen(bytes, scale.dtype, scale.elements(), block_scale_.data());
  for (std::size_t i = 0; i < block_scale_.size(); ++i)
    if (!(std::fabs(block_scale_[i]) < kMaxBlockScale))
      throw_error(ErrorCode::kCorrupt, "tensor '{}': scales below 2^119 expected, element {} is {}", name, i,
                  block_scale_[i]);
  if (whole) block_scale_.assign(static_cast<std::size_t>(blocks(rows_) * blocks(cols_)), block_scale_[0]);
}

std::span<const std::byte> SourceTensor::stored_rows(std::int64_t begin, std::int64_t end,
                                                     AlignedBuffer<std::byte>& buffer) const {
  LATENT8_CHECK(begin >= 0 && begin <= end && end <= rows_);
  const std::int64_t bytes = (end - begin) * row_bytes();
  if (source_ == nullptr)
    return view_->bytes.subspan(static_cast<std::size_t>(begin * row_bytes()),
                                static_cast<std::size_t>(bytes));
  if (buffer.size() < bytes) buffer = AlignedBuffer<std::byte>(bytes);
  const std::span<std::byte> rows = buffer.span().first(static_cast<std::size_t>(bytes));
  source_->read(name_, begin * row_bytes(), rows);
  return rows;
}

WeightRows SourceTensor::weight_rows(std::int64_t begin, std::int64_t end,
                                     std::span<const std::byte> stored) const {
  WeightRows rows;
  rows.w = stored.data();
  rows.type = weight_type(dtype());
  rows.m = end - begin;
  rows.k = cols_;
  rows.block_scale = block_scale_.data();
  rows.block_scale_stride = blocks(cols_);
  rows.row0 = begin;
  rows.row_scale = fold_.row.empty() ? nullptr : fold_.row.data() + begin;
  rows.col_scale = fold_.col.empty() ? nullptr : fold_.col.data();
  return rows;
}

void SourceTensor::read_rows(std::int64_t begin, std::int64_t end, float* out) const {
  AlignedBuffer<std::byte> buffer;
  const std::span<const std::byte> stored = stored_rows(begin, end, buffer);
  kernels().widen_weight({weight_rows(begin, end, stored), out});
}

}  // namespace latent8
