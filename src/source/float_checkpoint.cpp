#include "source/float_checkpoint.h"

#include <algorithm>

#include "base/error.h"

namespace latent8 {

Checkpoint open_float_checkpoint(const std::filesystem::path& model) {
  Checkpoint source = Checkpoint::open(model);
  if (source.quant() != nullptr)
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': a float checkpoint expected, got one that is quantised already ({})", model.string(),
                source.quant()->file_name);
  return source;
}

DType model_dtype(const Checkpoint& source) {
  const TensorMap& tensors = source.tensors();
  const bool fp8 = std::any_of(tensors.begin(), tensors.end(),
                               [](const auto& entry) { return entry.second.dtype == DType::kF8E4M3; });
  return fp8 ? DType::kBf16 : source.config().torch_dtype;
}

}  // namespace latent8
