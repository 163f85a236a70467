#include "formats/fa_tensors.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "formats/layer_schema.h"

namespace latent8 {
namespace {

struct Rows {
  std::int64_t rows = 0, cols = 0;
  std::vector<float> values;  // [rows, cols]
};

[[noreturn]] void refuse(const Checkpoint& checkpoint, const std::string& name, const std::string& what) {
  throw_error(ErrorCode::kCorrupt, "'{}': tensor '{}': {}", checkpoint.dir().string(), name, what);
}

Rows read_scale(const Checkpoint& checkpoint, const std::string& name) {
  const TensorView* tensor = checkpoint.find(name);
  if (tensor == nullptr)
    refuse(checkpoint, name, "expected, because the description lists fa_* tensors of this layer, got none");
  if (tensor->dtype != DType::kBf16 && tensor->dtype != DType::kF16 && tensor->dtype != DType::kF32)
    refuse(checkpoint, name, fmt::format("BF16, F16 or F32 expected, got {}", to_string(tensor->dtype)));
  if (tensor->shape.empty() || tensor->shape.size() > 2 || tensor->elements() == 0)
    refuse(checkpoint, name,
           fmt::format("shape [rows] or [rows, columns] expected, got {}", tensor->shape_text()));
  Rows scale{tensor->shape[0], tensor->elements() / tensor->shape[0], {}};
  scale.values.resize(static_cast<std::size_t>(tensor->elements()));
  widen(tensor->bytes.data(), tensor->dtype, tensor->elements(), scale.values.data());
  for (const float value : scale.values)
    if (!std::isfinite(value) || value <= 0.0F)
      refuse(checkpoint, name, fmt::format("finite values above 0 expected, got {}", value));
  for (std::int64_t i = 0; i < tensor->elements(); ++i)
    if (scale.values[i] != scale.values[i - i % scale.cols])
      refuse(checkpoint, name,
             fmt::format("one value per row expected, got {} and {} in row {}",
                         scale.values[i - i % scale.cols], scale.values[i], i / scale.cols));
  return scale;
}

void check_offset(const Checkpoint& checkpoint, const std::string& name) {
  const TensorView* tensor = checkpoint.find(name);
  if (tensor == nullptr) {
    if (checkpoint.quant()->type_of(name)) refuse(checkpoint, name, "listed in the description, got none");
    return;
  }
  const bool readable = tensor->dtype == DType::kI8 || tensor->dtype == DType::kI32 ||
                        tensor->dtype == DType::kBf16 || tensor->dtype == DType::kF16 ||
                        tensor->dtype == DType::kF32;
  if (!readable) refuse(checkpoint, name, fmt::format("I8 expected, got {}", to_string(tensor->dtype)));
  std::vector<float> values(static_cast<std::size_t>(tensor->elements()));
  widen(tensor->bytes.data(), tensor->dtype, tensor->elements(), values.data());
  for (const float value : values)
    if (value != 0.0F) refuse(checkpoint, name, fmt::format("0 expected (symmetric scales), got {}", value));
}

}  // namespace

std::optional<FaScales> read_fa_scales(const Checkpoint& checkpoint, std::int64_t layer,
                                       std::int64_t num_heads, FaScaleOptions options) {
  if (checkpoint.quant() == nullptr || !checkpoint.quant()->lists_fa_tensors(layer)) return std::nullopt;
  const std::string prefix = attention_name(layer) + ".";
  const std::string q_name = prefix + "fa_q.scale", k_name = prefix + "fa_k.scale";
  const Rows q = read_scale(checkpoint, q_name);
  const Rows k = read_scale(checkpoint, k_name);
  if (q.rows != num_heads)
    refuse(checkpoint, q_name,
           fmt::format("{} rows (num_attention_heads) expected, got {}", num_heads, q.rows));
  if (k.rows != 1 && k.rows != num_heads)
    refuse(checkpoint, k_name, fmt::format("1 or {} rows expected, got {}", num_heads, k.rows));
  FaScales scales;
  for (std::int64_t h = 0; h < num_heads; ++h) scales.q.push_back(q.values[h * q.cols]);
  scales.k = k.values.front();
  for (const float value : k.values)
    if (value != scales.k)
      refuse(checkpoint, k_name,
             fmt::format("one value for the layer expected, got {} and {}", scales.k, value));
  check_offset(checkpoint, prefix + "fa_q.offset");
  check_offset(checkpoint, prefix + "fa_k.offset");
  const bool all_one = scales.k == 1.0F && std::all_of(scales.q.begin(), scales.q.end(),
                                                       [](float value) { return value == 1.0F; });
  if (all_one && !options.accept_unit_scales)
    refuse(checkpoint, k_name,
           "calibrated scales expected, got 1 here and in every row of fa_q.scale; quantise again, or pass "
           "--accept-unit-scales");
  return scales;
}

}  // namespace latent8
