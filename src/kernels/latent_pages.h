#pragma once
// A view of one layer of the paged latent cache.

#include <cstddef>
#include <cstdint>

#include "kernels/latent_layout.h"

namespace latent8 {

// One layer's pages.
struct LatentPages {
  LatentLayout layout;
  std::byte* base = nullptr;  // [num_blocks, page_bytes]
  std::int64_t block_size = 0;
  float scale = 1.0F;  // fa_k scale of an int8 layer: value = code * scale

  std::byte* page(std::int32_t block_id) const { return base + block_id * layout.page_bytes(block_size); }
  std::byte* page_of_slot(std::int32_t slot) const {
    return page(static_cast<std::int32_t>(slot / block_size));
  }
};

}  // namespace latent8
