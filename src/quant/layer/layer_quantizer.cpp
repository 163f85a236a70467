#include "quant/layer/layer_quantizer.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "base/error.h"
#include "formats/plausible.h"
#include "quant/weights/compensated_rounding.h"
#include "quant/weights/expert_stream.h"
#include "quant/weights/rounding.h"
#include "source/source_tensor.h"
#include "sys/parallel.h"

namespace latent8 {
namespace {

using Kind = PlannedModule::Kind;

// Floats that are in memory at a time where a tensor is converted.
constexpr std::int64_t kChunk = std::int64_t{1} << 20;

// Of vectors (norms, biases) the loader of the result bounds the values too.
void check_finite(const SourceTensor& tensor, std::int64_t first_row, std::span<const float> values) {
  if (tensor.view().shape.size() == 1) return check_range(tensor.name(), values);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw_error(ErrorCode::kCorrupt, "tensor '{}': finite values expected, row {} has NaN or Inf",
                  tensor.name(), first_row + static_cast<std::int64_t>(i) / tensor.cols());
}

// Calls visit(values) for the whole tensor, some rows at a time, after checking the values.
template <class Visit>
void for_each_chunk(const SourceTensor& tensor, const Visit& visit) {
  const std::int64_t rows = std::max<std::int64_t>(1, kChunk / std::max<std::int64_t>(1, tensor.cols()));
  std::vector<float> values;
  for (std::int64_t begin = 0; begin < tensor.rows(); begin += rows) {
    const std::int64_t end = std::min(begin + rows, tensor.rows());
    values.resize(static_cast<std::size_t>((end - begin) * tensor.cols()));
    tensor.read_rows(begin, end, values.data());
    check_finite(tensor, begin, values);
    visit(values);
  }
}

Matrix<float> values_of(const SourceTensor& tensor) {
  Matrix<float> out(tensor.rows(), tensor.cols());
  tensor.read_rows(0, tensor.rows(), out.row(0));
  check_finite(tensor, 0, {out.row(0), static_cast<std::size_t>(tensor.rows() * tensor.cols())});
  return out;
}

// All of row_scales(), of a weight that is in memory.
std::vector<float> scales_of(ThreadPool& pool, const SourceTensor& weight, const Matrix<float>& values,
                             DType type) {
  std::vector<float> scale(static_cast<std::size_t>(values.rows()));
  parallel_for_or_throw(pool, values.rows(), 16, [&](std::int64_t begin, std::int64_t end, int) {
    WeightRows rows;
    rows.w = values.row(begin);
    rows.m = end - begin;
    rows.k = values.cols();
    row_scales(weight, rows, begin, type, scale.data() + begin);
  });
  return scale;
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

void LayerObservers::observe(const Scratch& s, std::int64_t tokens, std::span<const std::uint8_t> counts) {
  const auto rows = [&](const Matrix<float>& m) { return m.view().row_range(0, tokens); };
  for (std::size_t i = 0; i < kAttentionInputs.size(); ++i)
    if (inputs[i]) inputs[i]->observe(rows(s.*kAttentionInputs[i]), counts);
  if (fa) fa->observe(rows(s.q_absorbed), counts);
}

const InputObserver& LayerObservers::input_of(InputKind kind) const {
  const std::optional<InputObserver>& observer = inputs[static_cast<std::size_t>(kind)];
  LATENT8_CHECK(observer.has_value());
  return *observer;
}

SourceTensor LayerQuantizer::tensor(const std::string& name) const {
  return source_ != nullptr ? SourceTensor(*source_, name) : SourceTensor(tensors_, name);
}

LayerObservers LayerQuantizer::observers(std::span<const PlannedModule* const> modules) const {
  LayerObservers out;
  std::array<std::vector<double>, kInputKinds> energy;
  for (const PlannedModule* module : modules) {
    if (module->kind == Kind::kFaScales) out.fa.emplace(tensors_.config().num_attention_heads);
    if (module->kind != Kind::kStatic) continue;
    const std::vector<double> columns = column_energy(pool_, tensor(module->name + ".weight"));
    std::vector<double>& sum = energy[static_cast<std::size_t>(module->input)];
    sum.resize(columns.size());
    for (std::size_t c = 0; c < columns.size(); ++c) sum[c] += columns[c];
  }
  for (std::size_t i = 0; i < kInputKinds; ++i)
    if (!energy[i].empty()) out.inputs[i].emplace(std::move(energy[i]));
  return out;
}

OutputErrors LayerQuantizer::write(std::span<const PlannedModule* const> modules,
                                   const LayerObservers& observers) const {
  OutputErrors errors;
  std::vector<const PlannedModule*> dynamic;
  for (const PlannedModule* module : modules) {
    switch (module->kind) {
      case Kind::kFloat:
        write_float(*module);
        break;
      case Kind::kStored:
        write_stored(*module);
        break;
      case Kind::kStatic:
        write_static(*module, observers, errors);
        break;
      case Kind::kDynamic:
        if (const auto& factor = observers.factors[static_cast<std::size_t>(module->input)])
          write_compensated(*module, *factor, errors);
        else
          dynamic.push_back(module);
        break;
      case Kind::kFaScales:
        LATENT8_CHECK(observers.fa.has_value());
        write_fa_scales(*module, observers);
        break;
      case Kind::kNone:
        break;
    }
  }
  if (!dynamic.empty()) write_dynamic(dynamic);
  return errors;
}

// All of them in one parallel loop, since most linears of a layer are the small ones of experts.
void LayerQuantizer::write_dynamic(std::span<const PlannedModule* const> modules) const {
  struct Target {
    ShardWriter::Place &codes, &scale;
  };
  std::vector<SourceTensor> weights;
  std::vector<Target> targets;
  for (const PlannedModule* module : modules) {
    weights.push_back(tensor(module->name + ".weight"));
    targets.push_back(
        {writer_.place(module->name + ".weight"), writer_.place(module->name + ".weight_scale")});
    if (const std::vector<float> bias = bias_of(module->name); !bias.empty())
      append_floats(module->name + ".bias", bias);
    append_floats(module->name + ".weight_offset",
                  std::vector<float>(static_cast<std::size_t>(weights.back().rows())));
  }
  const std::int64_t scale_bytes = size_of(dtype_);
  stream_weights(pool_, weights, dtype_, [&](std::size_t i, const QuantizedRows& rows) {
    const auto& [codes, scale] = targets[i];
    writer_.write_at(codes, rows.row * weights[i].cols(), std::as_bytes(rows.codes));
    std::vector<std::byte> stored(static_cast<std::size_t>(rows.count * scale_bytes));
    narrow(rows.scale.data(), dtype_, rows.count, stored.data());
    writer_.write_at(scale, rows.row * scale_bytes, stored);
  });
}

void LayerQuantizer::write_stored(const PlannedModule& module) const {
  if (tensors_.get(module.name).dtype != module.tensors[0].tensor.dtype)
    return write_float(module);  // folded
  const std::int64_t bytes = tensors_.get(module.name).size_bytes();
  if (source_ == nullptr) return writer_.append(module.name, tensors_.get(module.name).bytes);
  AlignedBuffer<std::byte> chunk(std::min(bytes, kChunk));
  for (std::int64_t begin = 0; begin < bytes; begin += kChunk) {
    const auto part = chunk.span().first(static_cast<std::size_t>(std::min(kChunk, bytes - begin)));
    source_->read(module.name, begin, part);
    writer_.append(module.name, part);
  }
}

void LayerQuantizer::write_float(const PlannedModule& module) const {
  const DType dtype = module.tensors[0].tensor.dtype;
  std::vector<std::byte> stored;
  for_each_chunk(tensor(module.name), [&](const std::vector<float>& values) {
    stored.resize(values.size() * static_cast<std::size_t>(size_of(dtype)));
    narrow(values.data(), dtype, static_cast<std::int64_t>(values.size()), stored.data());
    writer_.append(module.name, stored);
  });
}

void LayerQuantizer::append_weight(const PlannedModule& module, const QuantizedWeight& weight,
                                   const std::vector<float>& bias) const {
  writer_.append(
      module.name + ".weight",
      std::as_bytes(std::span(weight.codes.row(0),
                              static_cast<std::size_t>(weight.codes.rows() * weight.codes.cols()))));
  if (!bias.empty()) append_floats(module.name + ".bias", bias);
  append_floats(module.name + ".weight_scale", weight.scale);
  append_floats(module.name + ".weight_offset", std::vector<float>(weight.scale.size()));
}

void LayerQuantizer::write_compensated(const PlannedModule& module, const HessianFactor& factor,
                                       OutputErrors& errors) const {
  const SourceTensor source = tensor(module.name + ".weight");
  const Matrix<float> values = values_of(source);
  OpContext ctx(pool_);
  const QuantizedWeight weight =
      quantize_compensated(ctx, values.view(), factor.l, scales_of(pool_, source, values, dtype_));
  errors.add(ctx, values.view(), weight, factor);
  append_weight(module, weight, bias_of(module.name));
}

void LayerQuantizer::write_static(const PlannedModule& module, const LayerObservers& observers,
                                  OutputErrors& errors) const {
  const StaticInput input = observers.input_of(module.input).best_input(dtype_);
  const std::vector<float> bias = bias_of(module.name);
  const SourceTensor source = tensor(module.name + ".weight");
  QuantizedWeight weight;
  if (const auto& factor = observers.factors[static_cast<std::size_t>(module.input)]) {
    const Matrix<float> values = values_of(source);
    const std::vector<float> scale = scales_of(pool_, source, values, dtype_);
    // What multiplies the codes when the model runs is deq_scale, which is rounded once more.
    std::vector<float> effective;
    for (const float s : scale) effective.push_back(round_to(dtype_, input.scale * s) / input.scale);
    OpContext ctx(pool_);
    weight = quantize_compensated(ctx, values.view(), factor->l, std::move(effective));
    errors.add(ctx, values.view(), weight, *factor);
    weight.scale = scale;
  } else {
    weight = quantize_weight(pool_, source, dtype_);
  }
  append_weight(module, weight, bias);
  const StaticTensors tensors = static_tensors(dtype_, weight, input, bias);
  append_floats(module.name + ".input_scale", {&input.scale, 1});
  append_floats(module.name + ".input_offset", {&input.offset, 1});
  writer_.append(module.name + ".quant_bias", bytes_of(tensors.quant_bias));
  if (dtype_ != DType::kF16) {
    writer_.append(module.name + ".deq_scale", bytes_of(tensors.deq_scale));
    return;
  }
  // The float32's bits, sign-extended (docs/format.md, "Quantised linears").
  std::vector<std::int64_t> bits;
  for (const float scale : tensors.deq_scale) bits.push_back(std::bit_cast<std::int32_t>(scale));
  writer_.append(module.name + ".deq_scale", bytes_of(bits));
}

void LayerQuantizer::write_fa_scales(const PlannedModule& module, const LayerObservers& observers) const {
  const std::vector<float> q = observers.fa->q_scale(dtype_);
  const float k = observers.k_scale;
  append_floats(module.name + ".fa_q.scale", q);
  append_floats(module.name + ".fa_k.scale", {&k, 1});
  append_floats(module.name + ".fa_v.scale", {&k, 1});  // the latent is key and value
  const std::vector<std::int8_t> zeros(q.size());
  writer_.append(module.name + ".fa_q.offset", bytes_of(zeros));
  writer_.append(module.name + ".fa_k.offset", bytes_of(zeros).first(1));
  writer_.append(module.name + ".fa_v.offset", bytes_of(zeros).first(1));
}

void LayerQuantizer::append_floats(const std::string& name, std::span<const float> values) const {
  std::vector<std::byte> stored(values.size() * static_cast<std::size_t>(size_of(dtype_)));
  narrow(values.data(), dtype_, static_cast<std::int64_t>(values.size()), stored.data());
  writer_.append(name, stored);
}

std::vector<float> LayerQuantizer::bias_of(const std::string& linear) const {
  if (tensors_.find(linear + ".bias") == nullptr) return {};
  std::vector<float> bias;
  for_each_chunk(tensor(linear + ".bias"), [&](const std::vector<float>& values) {
    bias.insert(bias.end(), values.begin(), values.end());
  });
  return bias;
}

void LayerQuantizer::refuse_values_that_are_not_finite(const PlannedModule& module) const {
  for (const std::string& name : source_names(tensors_, module))
    if (!name.ends_with(kBlockScaleSuffix)) for_each_chunk(tensor(name), [](const std::vector<float>&) {});
}

}  // namespace latent8
