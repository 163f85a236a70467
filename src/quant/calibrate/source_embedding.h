#pragma once
// Rows of a source's embedding, with the model's factor: what enters the residual stream.

#include "formats/model_config.h"
#include "source/source_tensor.h"

namespace latent8 {

class SourceEmbedding {
 public:
  SourceEmbedding(const TensorSource& source, const std::string& name, const ModelConfig& config)
      : table_(source, name), scale_(static_cast<float>(config.scale_emb)) {}

  void read_row(std::int32_t id, std::span<float> out) const {
    table_.read_row(id, out.data());
    for (float& value : out) value *= scale_;
  }

 private:
  SourceTensor table_;
  float scale_;
};

}  // namespace latent8
