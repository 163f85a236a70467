#include "quant/compat/layer_tensors.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "quant/weights/rounding.h"
#include "source/source_tensor.h"

namespace latent8::compat {
namespace {

constexpr std::int64_t kReadChunk = std::int64_t{1} << 18;  // elements that are read at a time

}  // namespace

void TensorReader::read(const SourceTensor& tensor, std::int64_t begin, Mat<float> out) const {
  tensor.read_rows(begin, begin + out.rows, out.data);
  for (std::int64_t r = 0; r < out.rows; ++r) {
    const std::span<float> row = out.row_span(r);
    for (const float value : row)
      if (!std::isfinite(value))
        throw_error(ErrorCode::kCorrupt, "tensor '{}': finite values expected, row {} has NaN or Inf",
                    tensor.name(), begin + r);
    if (tensor.dtype() != type_) round_in_place(type_, row);
  }
}

void TensorReader::for_rows(
    const std::string& name,
    const std::function<void(std::int64_t begin, ConstMat<float> rows)>& visit) const {
  const SourceTensor tensor(source_, name);
  const std::int64_t step =
      std::clamp<std::int64_t>(kReadChunk / std::max<std::int64_t>(1, tensor.cols()), 1, tensor.rows() + 1);
  Matrix<float> rows(step, tensor.cols());
  for (std::int64_t begin = 0; begin < tensor.rows(); begin += step) {
    const Mat<float> part = rows.view().row_range(0, std::min(step, tensor.rows() - begin));
    read(tensor, begin, part);
    visit(begin, part);
  }
}

Matrix<float> TensorReader::matrix(const std::string& name) const {
  const SourceTensor tensor(source_, name);
  Matrix<float> out(tensor.rows(), tensor.cols());
  const std::int64_t step = std::max<std::int64_t>(1, kReadChunk / std::max<std::int64_t>(1, tensor.cols()));
  for (std::int64_t begin = 0; begin < out.rows(); begin += step)
    read(tensor, begin, out.view().row_range(begin, std::min(begin + step, out.rows())));
  return out;
}

Matrix<float> TensorReader::rows(const std::string& name, std::span<const std::int32_t> indices) const {
  const SourceTensor tensor(source_, name);
  Matrix<float> out(static_cast<std::int64_t>(indices.size()), tensor.cols());
  for (std::int64_t r = 0; r < out.rows(); ++r)
    read(tensor, indices[static_cast<std::size_t>(r)], out.view().row_range(r, r + 1));
  return out;
}

std::vector<float> TensorReader::vector(const std::string& name) const {
  const Matrix<float> values = matrix(name);
  return {values.row(0), values.row(0) + values.rows() * values.cols()};
}

AttentionTensors TensorReader::attention(std::int64_t layer) const {
  const LayerSchema schema = layer_schema(source_.checkpoint().config(), layer);
  const auto linear = [&](TensorRole role) { return LinearTensors{matrix(schema.weight(role)), {}}; };
  const auto norm = [&](TensorRole role) { return NormTensors{vector(schema.weight(role)), {}}; };
  AttentionTensors out;
  out.input_layernorm = norm(TensorRole::kInputNorm);
  out.q_a_proj = linear(TensorRole::kQAProj);
  out.q_a_layernorm = norm(TensorRole::kQANorm);
  out.q_b_proj = linear(TensorRole::kQBProj);
  out.kv_a_proj_with_mqa = linear(TensorRole::kKvAProj);
  out.kv_a_layernorm = norm(TensorRole::kKvANorm);
  out.kv_b_proj = linear(TensorRole::kKvBProj);
  out.o_proj = linear(TensorRole::kOProj);
  return out;
}

MlpTensors TensorReader::mlp(const LayerSchema& layer, LayerPart part, std::int64_t expert) const {
  const auto weight = [&](TensorRole role) { return matrix(layer.weight(layer.get(role, part), expert)); };
  return {weight(TensorRole::kGateProj), weight(TensorRole::kUpProj), weight(TensorRole::kDownProj)};
}

}  // namespace latent8::compat
