#include "quant/working_layer.h"

#include <cstring>

#include "base/check.h"
#include "quant/source_tensor.h"

namespace latent8 {

void WorkingLayer::read(const SourceReader& source, std::span<const std::string> names) {
  for (const std::string& name : names) {
    if (tensors_.contains(name)) continue;
    const TensorView& view = source.checkpoint().get(name);
    Tensor tensor{view.dtype, view.shape,
                  AlignedBuffer<std::byte>(static_cast<std::int64_t>(view.bytes.size()))};
    source.read(name, 0, tensor.bytes.span());
    tensors_.emplace(name, std::move(tensor));
  }
}

void WorkingLayer::replace(const std::string& name, std::span<const float> values) {
  const auto found = tensors_.find(name);
  LATENT8_CHECK(found != tensors_.end());
  Tensor& tensor = found->second;
  LATENT8_CHECK_EQ(tensor.bytes.size(), static_cast<std::int64_t>(values.size()) * size_of(tensor.dtype));
  tensor.dtype = DType::kF32;
  tensor.bytes = AlignedBuffer<std::byte>(static_cast<std::int64_t>(values.size_bytes()));
  std::memcpy(tensor.bytes.data(), values.data(), values.size_bytes());
  tensors_.erase(name + kBlockScaleSuffix);
}

void WorkingLayer::drop(std::span<const std::string> names) {
  for (const std::string& name : names) tensors_.erase(name);
}

Matrix<float> WorkingLayer::values(const std::string& name) const {
  const Checkpoint view = checkpoint();
  const SourceTensor tensor(view, name);
  Matrix<float> out(tensor.rows(), tensor.cols());
  for (std::int64_t r = 0; r < tensor.rows(); ++r) tensor.read_row(r, out.row(r));
  return out;
}

std::int64_t WorkingLayer::bytes() const {
  std::int64_t sum = 0;
  for (const auto& [name, tensor] : tensors_) sum += tensor.bytes.size();
  return sum;
}

Checkpoint WorkingLayer::checkpoint() const {
  TensorMap views;
  for (const auto& [name, tensor] : tensors_)
    views.emplace(name, TensorView{tensor.dtype, tensor.shape, tensor.bytes.span()});
  return Checkpoint::of_tensors(config_, std::move(views));
}

}  // namespace latent8
