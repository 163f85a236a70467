#include "quant/weights/working_layer.h"

#include <cstring>

#include "base/check.h"
#include "source/source_tensor.h"

namespace latent8 {
namespace {

constexpr std::int64_t kAlignment = 64;

std::int64_t round_up(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void WorkingLayer::read(const TensorSource& source, std::span<const std::string> names) {
  std::int64_t size = 0;
  std::vector<std::pair<const std::string*, std::int64_t>> offsets;
  for (const std::string& name : names) {
    if (tensors_.contains(name)) continue;
    offsets.emplace_back(&name, size);
    size += round_up(source.checkpoint().get(name).size_bytes());
  }
  const auto block = std::make_shared<AlignedBuffer<std::byte>>(size);
  for (const auto& [name, offset] : offsets) {
    const TensorView& view = source.checkpoint().get(*name);
    const auto bytes =
        block->span().subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(view.size_bytes()));
    source.read(*name, 0, bytes);
    tensors_.emplace(*name, Tensor{view.dtype, view.shape, block, bytes});
  }
}

void WorkingLayer::replace(const std::string& name, std::span<const float> values) {
  const auto found = tensors_.find(name);
  LATENT8_CHECK(found != tensors_.end());
  Tensor& tensor = found->second;
  LATENT8_CHECK_EQ(tensor.bytes.size(), values.size() * static_cast<std::size_t>(size_of(tensor.dtype)));
  tensor.dtype = DType::kF32;
  tensor.block = std::make_shared<AlignedBuffer<std::byte>>(static_cast<std::int64_t>(values.size_bytes()));
  tensor.bytes = tensor.block->span();
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
  for (const auto& [name, tensor] : tensors_) sum += static_cast<std::int64_t>(tensor.bytes.size());
  return sum;
}

Checkpoint WorkingLayer::checkpoint() const {
  TensorMap views;
  for (const auto& [name, tensor] : tensors_)
    views.emplace(name, TensorView{tensor.dtype, tensor.shape, tensor.bytes});
  return Checkpoint::of_tensors(config_, std::move(views));
}

}  // namespace latent8
