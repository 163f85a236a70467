#include "formats/fused_experts.h"

#include <array>
#include <span>
#include <utility>

#include "base/error.h"

namespace latent8 {
namespace {

// A fused tensor and the linears that lie in it, one behind the other, expert after expert.
struct Fused {
  std::string_view path;
  std::array<TensorRole, 2> parts;
  std::size_t count;
};
constexpr std::array kFused{
    Fused{"mlp.experts.gate_up_proj", {TensorRole::kGateProj, TensorRole::kUpProj}, 2},
    Fused{"mlp.experts.down_proj", {TensorRole::kDownProj}, 1}};

void split(const LayerSchema& layer, const Fused& fused, const std::string& name, const TensorView& whole,
           TensorMap& tensors) {
  const auto parts = std::span(fused.parts).first(fused.count);
  const TensorSchema& first = layer.get(parts[0], LayerPart::kExpert);  // the others have its shape
  const std::vector<std::int64_t> shape{layer.experts, static_cast<std::int64_t>(fused.count) * first.rows,
                                        first.cols};
  if (whole.shape != shape)
    throw_error(ErrorCode::kCorrupt, "tensor '{}': shape [{}, {}, {}] expected from config.json, got {}",
                name, shape[0], shape[1], shape[2], whole.shape_text());
  const auto bytes = static_cast<std::size_t>(first.rows * first.cols * size_of(whole.dtype));
  std::size_t at = 0;
  for (std::int64_t e = 0; e < layer.experts; ++e)
    for (const TensorRole role : parts) {
      const std::string part = layer.weight(layer.get(role, LayerPart::kExpert), e);
      const TensorView view{whole.dtype, {first.rows, first.cols}, whole.bytes.subspan(at, bytes)};
      at += bytes;
      if (!tensors.emplace(part, view).second)
        throw_error(ErrorCode::kCorrupt,
                    "tensor '{}': experts in one tensor or one by one expected, got '{}' too", name, part);
    }
}

// Of fp8: gate and up share their expert's.
void split_scales(const LayerSchema& layer, const Fused& fused, const std::string& name,
                  const TensorView& whole, TensorMap& tensors) {
  if (whole.elements() != layer.experts)
    throw_error(ErrorCode::kUnsupported,
                "tensor '{}': one scale per expert expected ({}), got shape {}; store experts one by one",
                name, layer.experts, whole.shape_text());
  const auto bytes = static_cast<std::size_t>(size_of(whole.dtype));
  for (std::int64_t e = 0; e < layer.experts; ++e)
    for (const TensorRole role : std::span(fused.parts).first(fused.count))
      tensors.emplace(
          layer.weight(layer.get(role, LayerPart::kExpert), e) + "_scale_inv",
          TensorView{whole.dtype, {1}, whole.bytes.subspan(static_cast<std::size_t>(e) * bytes, bytes)});
}

// Calls split(name, view) with a tensor that the map has no longer.
template <class Split>
void take(TensorMap& tensors, const std::string& name, const Split& split) {
  const auto it = tensors.find(name);
  if (it == tensors.end()) return;
  const auto node = tensors.extract(it);
  split(node.key(), node.mapped());
}

}  // namespace

void split_fused_experts(const ModelConfig& config, TensorMap& tensors) {
  const ModelSchema schema(config);
  for (const LayerSchema& layer : schema.layers()) {
    if (layer.experts == 0) continue;
    for (const Fused& fused : kFused) {
      const std::string name = fmt::format("{}.{}", layer_name(layer.layer), fused.path);
      take(tensors, name,
           [&](const auto& key, const auto& view) { split(layer, fused, key, view, tensors); });
      take(tensors, name + "_scale_inv",
           [&](const auto& key, const auto& view) { split_scales(layer, fused, key, view, tensors); });
    }
  }
}

}  // namespace latent8
