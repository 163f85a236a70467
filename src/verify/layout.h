#pragma once
// What the tensors of a model are, from its config alone.

#include <cstdint>
#include <string>
#include <vector>

#include "formats/model_config.h"

namespace latent8 {

// A linear, a norm, or a tensor of its own.
struct ExpectedModule {
  enum class Form {
    kLinear,  // `name`.weight [rows, cols], may be quantised
    kMatrix,  // `name`.weight [rows, cols], float
    kNorm,    // `name`.weight [rows], maybe `name`.bias
    kVector   // `name` [rows]
  };
  Form form = Form::kLinear;
  std::string name;
  std::string kind;       // how the report calls it: "q_a_proj", "experts.up_proj"
  std::string norm;       // the norm whose output it multiplies; "" for others
  std::int64_t rows = 0;  // out
  std::int64_t cols = 0;  // in; 0 for vectors
  bool optional = false;

  std::string weight() const { return form == Form::kVector ? name : name + ".weight"; }
};

// The modules of decoder or MTP layer `layer`, and of what stands outside the layers.
std::vector<ExpectedModule> expected_layer(const ModelConfig& config, std::int64_t layer);
std::vector<ExpectedModule> expected_outside(const ModelConfig& config);

}  // namespace latent8
