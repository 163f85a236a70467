#include "kv/latent_cache.h"

#include <gtest/gtest.h>

#include "latent8/error.h"

namespace latent8 {
namespace {

const LatentCache::Layer kInt8{{CacheType::kInt8, 512, 64}, 0.5F};
const LatentCache::Layer kHalf{{CacheType::kF16, 512, 64}, 1.0F};

TEST(LatentCache, CountsTheBytesOfAllLayersPerToken) {
  const LatentCache cache({kInt8, kHalf}, 32, 3);

  EXPECT_EQ(cache.bytes_per_token(), 640 + 1152);
  EXPECT_EQ(LatentCache::bytes_per_token({kInt8}), 640);
}

TEST(LatentCache, GivesEveryBlockOfEveryLayerMemoryOfItsOwn) {
  const LatentCache cache({kInt8, kHalf, kInt8}, 16, 4);

  const std::byte* end = nullptr;
  for (std::int64_t l = 0; l < 3; ++l) {
    const LatentPages pages = cache.layer(l);
    for (std::int32_t block = 0; block < 4; ++block) {
      const std::byte* page = pages.page(block);
      if (end != nullptr) EXPECT_GE(page, end) << "layer " << l << ", block " << block;
      end = page + pages.layout.page_bytes(16);
    }
  }
}

TEST(LatentCache, KeepsEachLayersScale) {
  const LatentCache cache({kInt8, kHalf}, 16, 1);

  EXPECT_EQ(cache.layer(0).scale, 0.5F);
  EXPECT_EQ(cache.layer(1).scale, 1.0F);
}

TEST(LatentCache, RefusesBlockSizesThatTheKernelsCannotUse) {
  for (const std::int64_t size : {0, 8, 24, 144, -16})
    EXPECT_THROW(LatentCache({kInt8}, size, 1), Error) << size;
}

}  // namespace
}  // namespace latent8
