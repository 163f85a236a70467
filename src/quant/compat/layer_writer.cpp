#include "quant/compat/layer_writer.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "quant/weights/rounding.h"

namespace latent8::compat {
namespace {

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

template <class T>
std::span<const T> elements(const Matrix<T>& matrix) {
  return {matrix.row(0), static_cast<std::size_t>(matrix.rows() * matrix.cols())};
}

}  // namespace

void LayerWriter::attention(std::int64_t layer, bool fa, const AttentionTensors& tensors,
                            const LayerStatistics& statistics) const {
  using Role = TensorRole;
  const LayerSchema schema = layer_schema(reader_.source().checkpoint().config(), layer);
  const auto input = [&](Group group) -> const MeanRange& {
    return statistics.inputs[static_cast<std::size_t>(group)];
  };
  if (fa) {
    LATENT8_CHECK(statistics.fa.has_value());
    fa_scales(attention_name(layer) + ".", *statistics.fa);
  }
  attention_linear(schema.name(Role::kQAProj), tensors.q_a_proj, input(Group::kHidden));
  norm(schema.name(Role::kQANorm), tensors.q_a_layernorm);
  attention_linear(schema.name(Role::kQBProj), tensors.q_b_proj, input(Group::kCQ));
  attention_linear(schema.name(Role::kKvAProj), tensors.kv_a_proj_with_mqa, input(Group::kHidden));
  norm(schema.name(Role::kKvANorm), tensors.kv_a_layernorm);
  writer_.write_floats(schema.weight(Role::kKvBProj), elements(tensors.kv_b_proj.weight));
  attention_linear(schema.name(Role::kOProj), tensors.o_proj, input(Group::kO));
  norm(schema.name(Role::kInputNorm), tensors.input_layernorm);
}

void LayerWriter::mlp(const LayerSchema& layer, LayerPart part, std::int64_t expert,
                      const MlpTensors& tensors) const {
  const auto write = [&](TensorRole role, const Matrix<float>& weight) {
    linear(layer.name(layer.get(role, part), expert), weight, {});
  };
  write(TensorRole::kGateProj, tensors.gate_proj);
  write(TensorRole::kUpProj, tensors.up_proj);
  write(TensorRole::kDownProj, tensors.down_proj);
}

void LayerWriter::norm(const std::string& name, const NormTensors& norm) const {
  const std::vector<float> zeros(norm.weight.size());
  const std::vector<float>& bias = norm.bias.empty() ? zeros : norm.bias;
  writer_.write_floats(name + ".weight", norm.weight);
  if (has_norm_bias(options_)) writer_.write_floats(name + ".bias", bias);
  if (!doubles_norms(options_)) return;
  writer_.write_floats(name + ".module.weight", norm.weight);
  writer_.write_floats(name + ".module.bias", bias);
}

void LayerWriter::copy(const std::string& name) const {
  reader_.for_rows(name, [&](std::int64_t, ConstMat<float> rows) {
    writer_.append_floats(name, {rows.data, static_cast<std::size_t>(rows.rows * rows.cols)});
  });
}

void LayerWriter::stored(const std::string& name) const {
  const TensorView& view = reader_.source().checkpoint().get(name);
  if (view.dtype == DType::kF8E4M3) {
    copy(name);
    return;
  }
  constexpr std::size_t kChunk = std::size_t{1} << 20;
  std::vector<std::byte> chunk;
  for (std::size_t begin = 0; begin < view.bytes.size(); begin += kChunk) {
    chunk.resize(std::min(kChunk, view.bytes.size() - begin));
    reader_.source().read(name, static_cast<std::int64_t>(begin), chunk);
    writer_.append(name, chunk);
  }
}

Int8Weight LayerWriter::linear(const std::string& name, const Matrix<float>& weight,
                               const std::vector<float>& bias) const {
  Int8Weight quantized = quantize_weight(pool_, reader_.type(), weight);
  writer_.write(name + ".weight", std::as_bytes(elements(quantized.codes)));
  if (!bias.empty()) writer_.write_floats(name + ".bias", bias);
  writer_.write_floats(name + ".weight_scale", quantized.scale);
  writer_.write_floats(name + ".weight_offset", std::vector<float>(quantized.scale.size()));
  return quantized;
}

void LayerWriter::attention_linear(const std::string& name, const LinearTensors& tensors,
                                   const MeanRange& range) const {
  const Int8Weight weight = linear(name, tensors.weight, tensors.bias);
  if (options_.dynamic) return;
  const StaticInput input = range.input(reader_.type());
  const StaticTensors made = static_tensors(reader_.type(), weight, input, tensors.bias);
  writer_.write_floats(name + ".input_scale", {&input.scale, 1});
  writer_.write_floats(name + ".input_offset", {&input.offset, 1});
  writer_.write(name + ".quant_bias", bytes_of(made.quant_bias));
  if (reader_.type() != DType::kF16) {
    writer_.write(name + ".deq_scale", bytes_of(made.deq_scale));
    return;
  }
  // The float32's bits, sign-extended (docs/format.md, "Quantised linears").
  std::vector<std::int64_t> bits;
  for (const float scale : made.deq_scale) bits.push_back(std::bit_cast<std::int32_t>(scale));
  writer_.write(name + ".deq_scale", bytes_of(bits));
}

void LayerWriter::fa_scales(const std::string& name, const FaRanges& fa) const {
  const auto scale = [&](Range range) { return symmetric_scale(reader_.type(), range.amax()); };
  std::vector<float> q;
  for (const Range range : fa.q) q.push_back(scale(range));
  const std::vector<float> k{scale(fa.k)}, v{scale(fa.v)};
  const std::vector<std::int8_t> zeros(q.size());
  writer_.write_floats(name + "fa_q.scale", q);
  writer_.write_floats(name + "fa_k.scale", k);
  writer_.write_floats(name + "fa_v.scale", v);
  writer_.write(name + "fa_q.offset", bytes_of(zeros));
  writer_.write(name + "fa_k.offset", bytes_of(zeros).first(1));
  writer_.write(name + "fa_v.offset", bytes_of(zeros).first(1));
}

}  // namespace latent8::compat
