#include "model/float_cache.h"

#include <algorithm>

namespace latent8 {
namespace {

CacheType resolve(CacheDType wanted, bool quantised) {
  if (wanted == CacheDType::kAuto) return quantised ? CacheType::kF16 : CacheType::kF32;
  return wanted == CacheDType::kFp32 ? CacheType::kF32 : CacheType::kF16;
}

bool is_quantised(const Checkpoint& checkpoint) {
  if (checkpoint.quant() == nullptr) return false;
  const auto& entries = checkpoint.quant()->entries();
  return std::any_of(entries.begin(), entries.end(),
                     [](const auto& entry) { return entry.second != QuantType::kFloat; });
}

}  // namespace

CacheType float_cache_type(CacheDType wanted, const Checkpoint& checkpoint) {
  return resolve(wanted, is_quantised(checkpoint));
}

CacheType float_cache_type(CacheDType wanted, const DeepseekModel& model) {
  if (model.weights().checkpoint != nullptr) return float_cache_type(wanted, *model.weights().checkpoint);
  const auto layers = model.cache_layers(CacheType::kF32);
  return resolve(wanted, std::any_of(layers.begin(), layers.end(), [](const LatentCache::Layer& layer) {
                   return layer.layout.type == CacheType::kInt8;
                 }));
}

}  // namespace latent8
