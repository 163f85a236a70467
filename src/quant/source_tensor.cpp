#include "quant/source_tensor.h"

#include <algorithm>

#include "base/error.h"

namespace latent8 {
namespace {

// Weights per fp8 block scale, both ways. Source: facts/format.md 3.7.
constexpr std::int64_t kFp8Block = 128;

std::int64_t blocks(std::int64_t n) { return (n + kFp8Block - 1) / kFp8Block; }

bool holds_floats(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBf16 || type == DType::kF8E4M3;
}

}  // namespace

SourceTensor::SourceTensor(const Checkpoint& checkpoint, const std::string& name)
    : name_(name), view_(&checkpoint.get(name)) {
  if (!holds_floats(view_->dtype))
    throw_error(ErrorCode::kUnsupported, "tensor '{}': type F32, F16, BF16 or F8_E4M3 expected, got {}", name,
                to_string(view_->dtype));
  cols_ = view_->shape.empty() ? 1 : view_->shape.back();
  rows_ = cols_ == 0 ? 0 : view_->elements() / cols_;
  if (view_->dtype != DType::kF8E4M3) return;
  const TensorView& scale = checkpoint.get(name + kBlockScaleSuffix);
  if (scale.shape != std::vector<std::int64_t>{blocks(rows_), blocks(cols_)})
    throw_error(ErrorCode::kCorrupt, "tensor '{}{}': shape [{}, {}] expected (blocks of {}), got {}", name,
                kBlockScaleSuffix, blocks(rows_), blocks(cols_), kFp8Block, scale.shape_text());
  block_scale_ = AlignedBuffer<float>(scale.elements());
  widen(scale.bytes.data(), scale.dtype, scale.elements(), block_scale_.data());
}

void SourceTensor::read_row(std::int64_t row, float* out) const {
  widen(view_->bytes.data() + row * cols_ * size_of(view_->dtype), view_->dtype, cols_, out);
  if (view_->dtype != DType::kF8E4M3) return;
  const float* scale = block_scale_.data() + row / kFp8Block * blocks(cols_);
  for (std::int64_t c = 0; c < cols_; ++c) out[c] *= scale[c / kFp8Block];
}

}  // namespace latent8
