#pragma once
// The memory of the paged latent cache: every layer has one page per block.

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/latent_layout.h"
#include "kernels/latent_pages.h"

namespace latent8 {

// Thread-safety: pages of different slots may be written at the same time.
class LatentCache {
 public:
  struct Layer {
    LatentLayout layout;
    float scale = 1.0F;
  };
  // block_size: a multiple of 16 from 16 to 128. Throws: Error{kInvalidArgument} otherwise.
  LatentCache(const std::vector<Layer>& layers, std::int64_t block_size, std::int32_t num_blocks);

  LatentPages layer(std::int64_t l) const;
  std::int64_t block_size() const { return block_size_; }
  std::int32_t num_blocks() const { return num_blocks_; }
  std::int64_t bytes_per_token() const;  // over all layers

  static std::int64_t bytes_per_token(const std::vector<Layer>& layers);

 private:
  std::vector<Layer> layers_;
  std::vector<std::int64_t> offsets_;  // of each layer's pages in memory_
  std::int64_t block_size_;
  std::int32_t num_blocks_;
  mutable AlignedBuffer<std::byte> memory_;
};

}  // namespace latent8
