#include "verify/rows.h"

#include <algorithm>

#include "base/error.h"

namespace latent8 {
namespace {

using Form = TensorForm;

// Of the source that are read at a time.
constexpr std::int64_t kReadFloats = std::int64_t{1} << 16;

std::vector<float> values_of(const TensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.elements()));
  widen(view.bytes.data(), view.dtype, view.elements(), values.data());
  return values;
}

bool is_float(DType type) { return type == DType::kF32 || type == DType::kF16 || type == DType::kBf16; }

std::vector<std::int64_t> shape_of(const ExpectedModule& module) {
  if (module.form == Form::kNorm || module.form == Form::kVector) return {module.rows};
  return {module.rows, module.cols};
}

// weight_scale, or what deq_scale makes of it where only that is stored; empty without either.
std::vector<float> row_scales(const VerifyFolder& folder, const ExpectedModule& module) {
  const TensorView* scale = folder.find(module.name + ".weight_scale");
  if (scale != nullptr && is_float(scale->dtype)) return values_of(*scale);
  const TensorView *deq = folder.find(module.name + ".deq_scale"),
                   *input = folder.find(module.name + ".input_scale");
  if (scale != nullptr || deq == nullptr || input == nullptr || deq->dtype != DType::kF32 ||
      !is_float(input->dtype) || input->elements() != 1)
    return {};
  std::vector<float> values = values_of(*deq);
  const float input_scale = values_of(*input).front();
  for (float& value : values) value /= input_scale;
  return values;
}

}  // namespace

std::optional<StoredRows> StoredRows::open(const VerifyFolder& folder, const ExpectedModule& module) {
  StoredRows out;
  out.view_ = folder.find(module.weight());
  if (out.view_ == nullptr || out.view_->shape != shape_of(module)) return std::nullopt;
  out.cols_ = out.view_->shape.back();
  out.rows_ = out.view_->shape.size() == 1 ? 1 : module.rows;
  if (is_float(out.view_->dtype)) return out;
  if (!out.int8()) return std::nullopt;
  out.scale_ = row_scales(folder, module);
  if (static_cast<std::int64_t>(out.scale_.size()) != out.rows_) return std::nullopt;
  return out;
}

std::optional<StoredRows> StoredRows::open(const TensorSource& source, const ExpectedModule& module) {
  const std::string name = module.weight();
  StoredRows out;
  out.view_ = source.checkpoint().find(name);
  if (out.view_ == nullptr) return std::nullopt;
  if (out.view_->shape != shape_of(module))
    throw_error(ErrorCode::kCorrupt, "{}: tensor '{}': shape [{}] expected, got {}",
                source.stored().dir().string(), name, fmt::join(shape_of(module), ", "),
                out.view_->shape_text());
  out.source_.emplace(source, name);
  out.rows_ = out.source_->rows();
  out.cols_ = out.source_->cols();
  return out;
}

void StoredRows::read_row(std::int64_t row, float* out) {
  if (!source_) {
    widen(view_->bytes.data() + row * cols_ * size_of(view_->dtype), view_->dtype, cols_, out);
    if (int8())
      for (std::int64_t c = 0; c < cols_; ++c) out[c] *= scale(row);
    return;
  }
  const std::int64_t end = first_ + static_cast<std::int64_t>(read_.size()) / cols_;
  if (row < first_ || row >= end) {
    const std::int64_t unit = source_->row_unit();
    const std::int64_t count = std::max<std::int64_t>(kReadFloats / cols_ / unit, 1) * unit;
    first_ = row / unit * unit;
    read_.resize(static_cast<std::size_t>(std::min(count, rows_ - first_) * cols_));
    source_->read_rows(first_, first_ + static_cast<std::int64_t>(read_.size()) / cols_, read_.data());
  }
  std::copy_n(read_.begin() + (row - first_) * cols_, cols_, out);
}

}  // namespace latent8
