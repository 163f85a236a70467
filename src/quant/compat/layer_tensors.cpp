#include "quant/compat/layer_tensors.h"

#include <cmath>

#include "base/error.h"
#include "quant/rounding.h"
#include "quant/source_tensor.h"

namespace latent8::compat {

Matrix<float> TensorReader::matrix(const std::string& name) const {
  const SourceTensor tensor(source_, name);
  Matrix<float> out(tensor.rows(), tensor.cols());
  for (std::int64_t r = 0; r < tensor.rows(); ++r) {
    tensor.read_row(r, out.row(r));
    const std::span<float> row = out.view().row_span(r);
    for (const float value : row)
      if (!std::isfinite(value))
        throw_error(ErrorCode::kCorrupt, "tensor '{}': finite values expected, row {} has NaN or Inf", name,
                    r);
    if (tensor.view().dtype != type_) round_in_place(type_, row);
  }
  return out;
}

std::vector<float> TensorReader::vector(const std::string& name) const {
  const Matrix<float> values = matrix(name);
  return {values.row(0), values.row(0) + values.rows() * values.cols()};
}

AttentionTensors TensorReader::attention(std::int64_t layer) const {
  const std::string name = fmt::format("model.layers.{}.", layer), inside = name + "self_attn.";
  const auto linear = [&](const char* part) { return LinearTensors{matrix(inside + part + ".weight"), {}}; };
  AttentionTensors out;
  out.input_layernorm.weight = vector(name + "input_layernorm.weight");
  out.q_a_proj = linear("q_a_proj");
  out.q_a_layernorm.weight = vector(inside + "q_a_layernorm.weight");
  out.q_b_proj = linear("q_b_proj");
  out.kv_a_proj_with_mqa = linear("kv_a_proj_with_mqa");
  out.kv_a_layernorm.weight = vector(inside + "kv_a_layernorm.weight");
  out.kv_b_proj = linear("kv_b_proj");
  out.o_proj = linear("o_proj");
  return out;
}

MlpTensors TensorReader::mlp(const std::string& name) const {
  return {matrix(name + ".gate_proj.weight"), matrix(name + ".up_proj.weight"),
          matrix(name + ".down_proj.weight")};
}

}  // namespace latent8::compat
