#pragma once
// The tensors of one layer in memory, as float32 that the model's type can hold.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/views.h"
#include "formats/layer_schema.h"
#include "source/source_reader.h"
#include "source/source_tensor.h"

namespace latent8::compat {

struct LinearTensors {
  Matrix<float> weight;     // [out, in]
  std::vector<float> bias;  // [out], or empty
};
struct NormTensors {
  std::vector<float> weight;  // [size]
  std::vector<float> bias;    // [size] float32 of any value, or empty
};

// Attention of a layer, and the norm before it.
struct AttentionTensors {
  NormTensors input_layernorm, q_a_layernorm, kv_a_layernorm;
  LinearTensors q_a_proj, q_b_proj, kv_a_proj_with_mqa, kv_b_proj, o_proj;
};
struct MlpTensors {
  Matrix<float> gate_proj, up_proj, down_proj;
};

// Reads tensors of a float checkpoint, rounded to the model's type: fp8 blocks become bf16 as the reference
// makes them, float32 tensors are cast. Ownership: refers to the source. Throws: Error{kCorrupt} naming a
// tensor with NaN or Inf; what SourceTensor throws.
class TensorReader {
 public:
  TensorReader(const SourceReader& source, DType type) : source_(source), type_(type) {}

  DType type() const { return type_; }
  const SourceReader& source() const { return source_; }
  // Calls visit(begin, rows) for some rows after the other, of a MiB together or a single one.
  void for_rows(const std::string& name,
                const std::function<void(std::int64_t begin, ConstMat<float> rows)>& visit) const;
  Matrix<float> rows(const std::string& name, std::span<const std::int32_t> indices) const;
  Matrix<float> matrix(const std::string& name) const;       // a vector has one row
  std::vector<float> vector(const std::string& name) const;  // all elements
  AttentionTensors attention(std::int64_t layer) const;
  // part: kDenseMlp, kSharedExpert, or kExpert with its number.
  MlpTensors mlp(const LayerSchema& layer, LayerPart part, std::int64_t expert = -1) const;

 private:
  void read(const SourceTensor& tensor, std::int64_t begin, Mat<float> out) const;

  const SourceReader& source_;
  DType type_;
};

}  // namespace latent8::compat
