#include "model/weight_reader.h"

#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "formats/plausible.h"
#include "kernels/fp8_block.h"
#include "kernels/gemm_args.h"

namespace latent8 {
namespace {

[[noreturn]] void wrong_type(const std::string& name, const char* expected, DType got) {
  throw_error(ErrorCode::kUnsupported, "tensor '{}': type {} expected, got {}", name, expected,
              to_string(got));
}

}  // namespace

const TensorView& WeightReader::tensor(const std::string& name, std::int64_t rows, std::int64_t cols) {
  const TensorView& view = checkpoint_.get(name);
  if (view.shape != std::vector<std::int64_t>{rows, cols})
    throw_error(ErrorCode::kCorrupt, "tensor '{}': shape [{}, {}] expected from config.json, got {}", name,
                rows, cols, view.shape_text());
  return view;
}

const void* WeightReader::weight_bytes(const std::string& name, const TensorView& view) {
  if (storage_.copy) return storage_.copy->add(view.bytes);
  const auto alignment = static_cast<std::uintptr_t>(size_of(view.dtype));
  if (reinterpret_cast<std::uintptr_t>(view.bytes.data()) % alignment == 0) return view.bytes.data();
  log_info(fmt::format("tensor '{}' is not aligned to {} bytes in its file and is copied", name, alignment));
  auto& buffer = storage_.bytes.emplace_back(static_cast<std::int64_t>(view.bytes.size()));
  std::memcpy(buffer.data(), view.bytes.data(), view.bytes.size());
  return buffer.data();
}

const TensorView& WeightReader::vector_view(const std::string& name, std::int64_t size) {
  const TensorView& view = checkpoint_.get(name);
  if (view.elements() != size)
    throw_error(ErrorCode::kCorrupt, "tensor '{}': {} elements expected from config.json, got shape {}", name,
                size, view.shape_text());
  return view;
}

std::span<const float> WeightReader::vector(const std::string& name, std::int64_t size) {
  const TensorView& view = vector_view(name, size);
  auto& buffer = storage_.floats.emplace_back(size);
  widen(view.bytes.data(), view.dtype, size, buffer.data());
  check_range(name, buffer.span());
  return buffer.span();
}

std::span<const float> WeightReader::scales(const std::string& name, std::int64_t size) {
  const std::span<const float> values = vector(name, size);
  check_range(name, values, 0.0F);
  return values;
}

float WeightReader::scalar(const std::string& name) { return vector(name, 1)[0]; }

// An offset of symmetric weights.
void WeightReader::zeros(const std::string& name) {
  if (!has(name)) return;
  const TensorView& view = checkpoint_.get(name);
  std::vector<float> values(static_cast<std::size_t>(view.elements()));
  widen(view.bytes.data(), view.dtype, view.elements(), values.data());
  for (const float value : values)
    if (value != 0.0F)
      throw_error(ErrorCode::kUnsupported, "tensor '{}': 0 expected (weights are symmetric), got {:g}", name,
                  value);
}

Norm WeightReader::norm(const std::string& name, std::int64_t size) {
  Norm out;
  out.weight = vector(name + ".weight", size);
  // Only norms: msModelSlim stores the shift of the smoothing there (docs/format.md, "Norms").
  if (has(name + ".bias")) out.bias = vector(name + ".bias", size);
  return out;
}

std::span<const float> WeightReader::deq_scale(const std::string& name, std::int64_t size) {
  const TensorView& view = vector_view(name, size);
  if (view.dtype != DType::kI64) return scales(name, size);
  // fp16 models: the low 32 bits of an int64 are the bits of a float32 (docs/format.md, "Quantised linears").
  auto& buffer = storage_.floats.emplace_back(size);
  for (std::int64_t i = 0; i < size; ++i) std::memcpy(buffer.data() + i, view.bytes.data() + i * 8, 4);
  check_range(name, buffer.span(), 0.0F);
  return buffer.span();
}

Linear WeightReader::linear(const std::string& name, std::int64_t out_features, std::int64_t in_features) {
  const TensorView& view = tensor(name + ".weight", out_features, in_features);
  Linear out;
  out.out_features = out_features;
  out.in_features = in_features;
  out.weight = weight_bytes(name + ".weight", view);
  const QuantDescription* quant = checkpoint_.quant();
  const QuantType type =
      quant == nullptr ? QuantType::kFloat : quant->type_of(name + ".weight").value_or(QuantType::kFloat);
  if (type == QuantType::kFloat)
    read_float(name, view, out);
  else
    read_int8(name, type, view, out);
  return out;
}

Linear WeightReader::gate(const std::string& name, std::int64_t n_routed_experts, std::int64_t hidden_size) {
  Linear out = linear(name, n_routed_experts, hidden_size);
  if (out.kind != Linear::Kind::kFloat || out.type == WeightType::kF8E4M3) return out;
  const TensorView& view = checkpoint_.get(name + ".weight");
  std::vector<float> row(static_cast<std::size_t>(hidden_size));
  for (std::int64_t expert = 0; expert < n_routed_experts; ++expert) {
    widen(view.bytes.data() + expert * hidden_size * size_of(view.dtype), view.dtype, hidden_size,
          row.data());
    check_range(name + ".weight", row);
  }
  return out;
}

Linear WeightReader::embedding(const std::string& name, std::int64_t vocab_size, std::int64_t hidden_size) {
  Linear out = linear(name, vocab_size, hidden_size);
  if (out.kind != Linear::Kind::kFloat)
    throw_error(ErrorCode::kUnsupported, "tensor '{}.weight': FLOAT expected in the description", name);
  if (out.type == WeightType::kF8E4M3)
    throw_error(
        ErrorCode::kUnsupported,
        "tensor '{}.weight': type F32, BF16 or F16 expected (its rows are looked up without block scales), "
        "got F8_E4M3",
        name);
  return out;
}

void WeightReader::read_float(const std::string& name, const TensorView& view, Linear& out) {
  switch (view.dtype) {
    case DType::kF32:
      out.type = WeightType::kF32;
      break;
    case DType::kBf16:
      out.type = WeightType::kBf16;
      break;
    case DType::kF16:
      out.type = WeightType::kF16;
      break;
    case DType::kF8E4M3: {
      out.type = WeightType::kF8E4M3;
      const std::int64_t rows = (out.out_features + kFp8Block - 1) / kFp8Block;
      const std::int64_t cols = (out.in_features + kFp8Block - 1) / kFp8Block;
      const auto& block = checkpoint_.config().weight_block_size;
      if (block && ((*block)[0] != kFp8Block || (*block)[1] != kFp8Block))
        throw_error(ErrorCode::kUnsupported,
                    "config.json: 'quantization_config.weight_block_size': [128, 128] expected, got [{}, {}]",
                    (*block)[0], (*block)[1]);
      tensor(name + ".weight_scale_inv", rows, cols);
      out.block_scale = scales(name + ".weight_scale_inv", rows * cols).data();
      out.block_scale_stride = cols;
      break;
    }
    default:
      wrong_type(name + ".weight", "F32, BF16, F16 or F8_E4M3", view.dtype);
  }
  if (has(name + ".bias")) out.bias = vector(name + ".bias", out.out_features).data();
}

void WeightReader::read_int8(const std::string& name, QuantType type, const TensorView& view, Linear& out) {
  if (type != QuantType::kW8A8 && type != QuantType::kW8A8Dynamic)
    throw_error(ErrorCode::kUnsupported,
                "tensor '{}.weight': the description calls it {}; FLOAT, W8A8 or W8A8_DYNAMIC expected", name,
                to_string(type));
  if (view.dtype != DType::kI8) wrong_type(name + ".weight", "I8", view.dtype);
  if (out.in_features > kMaxCodesPerRow)
    throw_error(
        ErrorCode::kUnsupported,
        "tensor '{}.weight': at most {} inputs expected of an int8 linear (its sums are int32), got {}", name,
        kMaxCodesPerRow, out.in_features);
  zeros(name + ".weight_offset");
  if (type == QuantType::kW8A8) return read_static(name, view, out);
  out.kind = Linear::Kind::kW8A8Dynamic;
  out.scale = scales(name + ".weight_scale", out.out_features).data();
  if (has(name + ".bias")) out.bias = vector(name + ".bias", out.out_features).data();
}

void WeightReader::read_static(const std::string& name, const TensorView& view, Linear& out) {
  out.kind = Linear::Kind::kW8A8Static;
  out.scale = deq_scale(name + ".deq_scale", out.out_features).data();
  out.input_scale = scalar(name + ".input_scale");
  out.input_offset = scalar(name + ".input_offset");
  if (!(out.input_scale > 0.0F))
    throw_error(ErrorCode::kCorrupt, "tensor '{}.input_scale': a value above 0 expected, got {}", name,
                out.input_scale);
  check_range(name + ".input_offset", {&out.input_offset, 1}, -128.0F, 127.0F);
  read_quant_bias(name + ".quant_bias", view, out);
}

void WeightReader::read_quant_bias(const std::string& name, const TensorView& view, Linear& out) {
  const TensorView& bias = vector_view(name, out.out_features);
  if (bias.dtype != DType::kI32) wrong_type(name, "I32", bias.dtype);
  auto& buffer = storage_.ints.emplace_back(out.out_features);
  std::memcpy(buffer.data(), bias.bytes.data(), bias.bytes.size());
  check_quant_bias(name, buffer.span(), view.bytes);
  out.quant_bias = buffer.data();
}

}  // namespace latent8
