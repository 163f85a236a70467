#pragma once
// What the tensors of a model are, from its config alone, as the checks want them: one by one, with full
// names.

#include <cstdint>
#include <string>
#include <vector>

#include "formats/layer_schema.h"

namespace latent8 {

// A tensor of the schema with its name.
struct ExpectedModule {
  TensorForm form = TensorForm::kLinear;
  TensorRole role = TensorRole::kQProj;
  std::string name;       // without ".weight"
  std::string kind;       // how the report calls it: "q_a_proj", "experts.up_proj"
  std::string norm;       // the norm whose output it multiplies; "" for others
  std::int64_t rows = 0;  // out
  std::int64_t cols = 0;  // in; 0 for vectors
  bool optional = false;

  std::string weight() const { return form == TensorForm::kVector ? name : name + ".weight"; }
};

// The modules of decoder or MTP layer `layer`, and of what stands outside the layers.
std::vector<ExpectedModule> expected_layer(const ModelConfig& config, std::int64_t layer);
std::vector<ExpectedModule> expected_outside(const ModelConfig& config);

}  // namespace latent8
