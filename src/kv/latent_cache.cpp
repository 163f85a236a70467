#include "kv/latent_cache.h"

#include "base/error.h"

namespace latent8 {

LatentCache::LatentCache(const std::vector<Layer>& layers, std::int64_t block_size, std::int32_t num_blocks)
    : layers_(layers), block_size_(block_size), num_blocks_(num_blocks) {
  if (block_size < kGroupKeys || block_size > 128 || block_size % kGroupKeys != 0)
    throw_error(ErrorCode::kInvalidArgument, "block size: a multiple of 16 from 16 to 128 expected, got {}",
                block_size);
  std::int64_t bytes = 0;
  for (const Layer& layer : layers_) {
    offsets_.push_back(bytes);
    bytes += layer.layout.page_bytes(block_size) * num_blocks;
  }
  memory_ = AlignedBuffer<std::byte>(bytes);
}

LatentPages LatentCache::layer(std::int64_t l) const {
  const auto i = static_cast<std::size_t>(l);
  return {layers_[i].layout, memory_.data() + offsets_[i], block_size_, layers_[i].scale};
}

std::int64_t LatentCache::bytes_per_token() const { return bytes_per_token(layers_); }

std::int64_t LatentCache::bytes_per_token(const std::vector<Layer>& layers) {
  std::int64_t bytes = 0;
  for (const Layer& layer : layers) bytes += layer.layout.bytes_per_token();
  return bytes;
}

}  // namespace latent8
