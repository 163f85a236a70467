#include "quant/layer_quantizer.h"

#include <bit>
#include <cmath>

#include "base/check.h"
#include "base/error.h"
#include "quant/source_tensor.h"

namespace latent8 {
namespace {

using Kind = PlannedModule::Kind;

void check_finite(const SourceTensor& tensor, std::int64_t row, std::span<const float> values) {
  for (const float value : values)
    if (!std::isfinite(value))
      throw_error(ErrorCode::kCorrupt, "tensor '{}': finite values expected, row {} has NaN or Inf",
                  tensor.name(), row);
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

InputKind input_kind(std::string_view linear) {
  if (linear.ends_with(".q_b_proj")) return InputKind::kCQ;
  if (linear.ends_with(".o_proj")) return InputKind::kO;
  return InputKind::kHidden;
}

void LayerObservers::observe(const Scratch& s, const ModelConfig& config, std::int64_t tokens,
                             std::span<const std::uint8_t> counts) {
  const auto rows = [&](const Matrix<float>& m) { return m.view().row_range(0, tokens); };
  const std::array<const Matrix<float>*, kInputKinds> values{&s.h, &s.c_q, &s.o};  // by InputKind
  for (std::size_t i = 0; i < kInputKinds; ++i)
    if (inputs[i]) inputs[i]->observe(rows(*values[i]), counts);
  if (fa) fa->observe(rows(s.q_absorbed), rows(s.kv).col_range(0, config.kv_lora_rank), counts);
}

const InputObserver& LayerObservers::input_of(std::string_view linear) const {
  const std::optional<InputObserver>& observer = inputs[static_cast<std::size_t>(input_kind(linear))];
  LATENT8_CHECK(observer.has_value());
  return *observer;
}

LayerObservers LayerQuantizer::observers(const ModelConfig& config,
                                         const std::vector<PlannedModule>& modules) const {
  LayerObservers out;
  std::array<std::vector<double>, kInputKinds> energy;
  for (const PlannedModule& module : modules) {
    if (module.kind == Kind::kFaScales) out.fa.emplace(config.num_attention_heads);
    if (module.kind != Kind::kStatic) continue;
    const std::vector<double> columns = column_energy(pool_, SourceTensor(source_, module.name + ".weight"));
    std::vector<double>& sum = energy[static_cast<std::size_t>(input_kind(module.name))];
    sum.resize(columns.size());
    for (std::size_t c = 0; c < columns.size(); ++c) sum[c] += columns[c];
  }
  for (std::size_t i = 0; i < kInputKinds; ++i)
    if (!energy[i].empty()) out.inputs[i].emplace(std::move(energy[i]));
  return out;
}

void LayerQuantizer::write(const std::vector<PlannedModule>& modules, const LayerObservers& observers) const {
  for (const PlannedModule& module : modules) {
    switch (module.kind) {
      case Kind::kFloat:
        write_float(module);
        break;
      case Kind::kStored:
        writer_.append(module.name, source_.get(module.name).bytes);
        break;
      case Kind::kStatic:
      case Kind::kDynamic:
        write_linear(module, observers);
        break;
      case Kind::kFaScales:
        LATENT8_CHECK(observers.fa.has_value());
        write_fa_scales(module, *observers.fa);
        break;
    }
  }
}

void LayerQuantizer::write_float(const PlannedModule& module) const {
  const SourceTensor tensor(source_, module.name);
  const DType dtype = module.tensors[0].tensor.dtype;
  std::vector<float> row(static_cast<std::size_t>(tensor.cols()));
  std::vector<std::byte> stored(row.size() * static_cast<std::size_t>(size_of(dtype)));
  for (std::int64_t r = 0; r < tensor.rows(); ++r) {
    tensor.read_row(r, row.data());
    check_finite(tensor, r, row);
    narrow(row.data(), dtype, tensor.cols(), stored.data());
    writer_.append(module.name, stored);
  }
}

void LayerQuantizer::write_linear(const PlannedModule& module, const LayerObservers& observers) const {
  const QuantizedWeight weight =
      quantize_weight(pool_, SourceTensor(source_, module.name + ".weight"), dtype_);
  const std::vector<float> zeros(weight.scale.size());
  writer_.append(
      module.name + ".weight",
      std::as_bytes(std::span(weight.codes.row(0),
                              static_cast<std::size_t>(weight.codes.rows() * weight.codes.cols()))));
  if (source_.find(module.name + ".bias") != nullptr)
    append_floats(module.name + ".bias", bias_of(module.name));
  append_floats(module.name + ".weight_scale", weight.scale);
  append_floats(module.name + ".weight_offset", zeros);
  if (module.kind == Kind::kStatic) write_static(module, weight, observers);
}

void LayerQuantizer::write_static(const PlannedModule& module, const QuantizedWeight& weight,
                                  const LayerObservers& observers) const {
  const StaticInput input = observers.input_of(module.name).best_input(dtype_);
  const StaticTensors tensors = static_tensors(dtype_, weight, input, bias_of(module.name));
  append_floats(module.name + ".input_scale", {&input.scale, 1});
  append_floats(module.name + ".input_offset", {&input.offset, 1});
  writer_.append(module.name + ".quant_bias", bytes_of(tensors.quant_bias));
  if (dtype_ != DType::kF16) {
    writer_.append(module.name + ".deq_scale", bytes_of(tensors.deq_scale));
    return;
  }
  // The float32's bits, sign-extended (facts/format.md 1.3).
  std::vector<std::int64_t> bits;
  for (const float scale : tensors.deq_scale) bits.push_back(std::bit_cast<std::int32_t>(scale));
  writer_.append(module.name + ".deq_scale", bytes_of(bits));
}

void LayerQuantizer::write_fa_scales(const PlannedModule& module, const FaObserver& fa) const {
  const std::vector<float> q = fa.q_scale(dtype_);
  const float k = fa.k_scale(dtype_);
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
  if (source_.find(linear + ".bias") == nullptr) return {};
  const SourceTensor tensor(source_, linear + ".bias");
  std::vector<float> bias(static_cast<std::size_t>(tensor.cols()));
  tensor.read_row(0, bias.data());
  check_finite(tensor, 0, bias);
  return bias;
}

void LayerQuantizer::refuse_values_that_are_not_finite(const std::vector<PlannedModule>& modules) const {
  for (const PlannedModule& module : modules) {
    if (module.kind == Kind::kFaScales) continue;
    const bool linear = module.kind == Kind::kStatic || module.kind == Kind::kDynamic;
    const std::string name = linear ? module.name + ".weight" : module.name;
    if (name.ends_with(kBlockScaleSuffix)) continue;
    const SourceTensor tensor(source_, name);
    std::vector<float> row(static_cast<std::size_t>(tensor.cols()));
    for (std::int64_t r = 0; r < tensor.rows(); ++r) {
      tensor.read_row(r, row.data());
      check_finite(tensor, r, row);
    }
  }
}

}  // namespace latent8
