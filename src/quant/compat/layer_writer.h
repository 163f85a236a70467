#pragma once
// Turns the tensors of a layer into those of the reference's checkpoint.

#include <string>

#include "quant/compat/int8_linear.h"
#include "quant/compat/layer_tensors.h"
#include "quant/compat/writer.h"

namespace latent8::compat {

// Ownership: refers to its arguments, which must outlive it.
class LayerWriter {
 public:
  LayerWriter(const QuantizeOptions& options, const TensorReader& reader, ThreadPool& pool, Writer& writer)
      : options_(options), reader_(reader), pool_(pool), writer_(writer) {}

  // Attention and the norm before it. REQUIRES: statistics of every input of a static linear, and of the
  // latent where scales are planned
  void attention(std::int64_t layer, bool fa, const AttentionTensors& tensors,
                 const LayerStatistics& statistics) const;
  // part, expert: as of TensorReader::mlp().
  void mlp(const LayerSchema& layer, LayerPart part, std::int64_t expert, const MlpTensors& tensors) const;
  // `name`.weight, and its bias where smoothing gives it one: zeros unless `norm` has values.
  void norm(const std::string& name, const NormTensors& norm) const;
  // A tensor of the source in the model's type.
  void copy(const std::string& name) const;
  // A tensor of the source in its own type; fp8 in the model's.
  void stored(const std::string& name) const;

 private:
  void attention_linear(const std::string& name, const LinearTensors& linear, const MeanRange& input) const;
  Int8Weight linear(const std::string& name, const Matrix<float>& weight,
                    const std::vector<float>& bias) const;
  void fa_scales(const std::string& name, const FaRanges& fa) const;

  const QuantizeOptions& options_;
  const TensorReader& reader_;
  ThreadPool& pool_;
  Writer& writer_;
};

}  // namespace latent8::compat
