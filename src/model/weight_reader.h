#pragma once
// Turns named tensors of a checkpoint into the views that ops/ read. Used by weights.cpp only.

#include <string>

#include "model/weights.h"

namespace latent8 {

// Every value that is read is looked at: see formats/plausible.h.
class WeightReader {
 public:
  WeightReader(const Checkpoint& checkpoint, WeightStorage& storage)
      : checkpoint_(checkpoint), storage_(storage) {}

  const Checkpoint& checkpoint() const { return checkpoint_; }
  bool has(const std::string& name) const { return checkpoint_.find(name) != nullptr; }

  // `name`.weight [out, in] in whatever form the description or its type says.
  Linear linear(const std::string& name, std::int64_t out_features, std::int64_t in_features);
  // A linear that chooses experts: its values are looked at, since what is NaN chooses some all the same.
  Linear gate(const std::string& name, std::int64_t n_routed_experts, std::int64_t hidden_size);
  // A linear whose rows are looked up, so that it has to be float without block scales.
  Linear embedding(const std::string& name, std::int64_t vocab_size, std::int64_t hidden_size);
  // `name`.weight [size], and `name`.bias where the description lists it.
  Norm norm(const std::string& name, std::int64_t size);
  // A float tensor of `size` elements, widened.
  std::span<const float> vector(const std::string& name, std::int64_t size);

 private:
  const TensorView& vector_view(const std::string& name, std::int64_t size);
  const TensorView& tensor(const std::string& name, std::int64_t rows, std::int64_t cols);
  const void* weight_bytes(const std::string& name, const TensorView& view);
  std::span<const float> scales(const std::string& name, std::int64_t size);
  std::span<const float> deq_scale(const std::string& name, std::int64_t size);
  float scalar(const std::string& name);
  void zeros(const std::string& name);
  void read_float(const std::string& name, const TensorView& view, Linear& out);
  void read_int8(const std::string& name, QuantType type, const TensorView& view, Linear& out);
  void read_static(const std::string& name, const TensorView& view, Linear& out);
  void read_quant_bias(const std::string& name, const TensorView& view, Linear& out);

  const Checkpoint& checkpoint_;
  WeightStorage& storage_;
};

}  // namespace latent8
