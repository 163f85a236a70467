#include "verify/layout.h"

namespace latent8 {
namespace {

// Tensors of the same kind are one line of the report.
std::string kind_of(const TensorSchema& tensor) {
  const std::string path(tensor.path);
  if (tensor.form == TensorForm::kNorm) return "norms";
  switch (tensor.part) {
    case LayerPart::kRouter:
      return "gate";
    case LayerPart::kExpert:
      return "experts." + path;
    case LayerPart::kDenseMlp:
      return path;  // "mlp.up_proj"
    case LayerPart::kSharedExpert:
      return path.substr(path.find('.') + 1);  // "shared_experts.up_proj"
    default:
      return path.substr(path.rfind('.') + 1);
  }
}

std::vector<ExpectedModule> expected(const LayerSchema& schema, const std::string& kind_prefix) {
  std::vector<ExpectedModule> out;
  for_each_tensor(schema, [&](const TensorSchema& tensor, std::int64_t expert) {
    // Of eh_proj, which reads two norms, no fold is known.
    const bool one_norm = tensor.norms[0] && !tensor.norms[1];
    out.push_back({tensor.form, tensor.role, schema.name(tensor, expert), kind_prefix + kind_of(tensor),
                   one_norm ? schema.name(*tensor.norms[0]) : "", tensor.rows, tensor.cols, tensor.optional});
  });
  return out;
}

}  // namespace

std::vector<ExpectedModule> expected_layer(const ModelConfig& config, std::int64_t layer) {
  return expected(layer_schema(config, layer), layer >= config.num_hidden_layers ? "mtp." : "");
}

std::vector<ExpectedModule> expected_outside(const ModelConfig& config) {
  return expected(outside_schema(config), "");
}

}  // namespace latent8
