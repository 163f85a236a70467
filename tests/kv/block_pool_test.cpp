#include "kv/block_pool.h"

#include <gtest/gtest.h>
// rapidcheck's gtest glue needs gtest.h first.
#include <rapidcheck/gtest.h>

#include <set>
#include <vector>

#include "kv/latent_cache.h"
#include "latent8/error.h"

namespace latent8 {
namespace {

TEST(BlockPool, FreesABlockWhenTheLastShareIsDropped) {
  BlockPool pool(2);
  std::optional<BlockRef> first = pool.allocate();
  std::optional<BlockRef> copy = first;

  first.reset();
  EXPECT_EQ(pool.free_blocks(), 1);
  copy.reset();

  EXPECT_EQ(pool.free_blocks(), 2);
}

TEST(BlockPool, AllocatesNothingWhenEmpty) {
  BlockPool pool(1);
  const std::optional<BlockRef> only = pool.allocate();

  EXPECT_FALSE(pool.allocate().has_value());
}

TEST(BlockTable, LeavesTheTableAsItWasWhenThePoolRunsOut) {
  BlockPool pool(3);
  BlockTable table(16);
  ASSERT_TRUE(table.reserve(pool, 20));

  EXPECT_FALSE(table.reserve(pool, 16 * 4));

  EXPECT_EQ(table.ids().size(), 2U);
  EXPECT_EQ(pool.free_blocks(), 1);
}

RC_GTEST_PROP(BlockTable, RandomUseKeepsBlocksDistinctAndCounted, ()) {
  BlockPool pool(12);
  {
    std::vector<BlockTable> tables(3, BlockTable(16));
    for (int step = 0; step < 60; ++step) {
      BlockTable& table = tables[*rc::gen::inRange<std::size_t>(0, 3)];
      const std::int64_t tokens = *rc::gen::inRange<std::int64_t>(0, 120);
      if (*rc::gen::arbitrary<bool>())
        static_cast<void>(table.reserve(pool, tokens));
      else
        table.truncate(tokens);
      std::set<std::int32_t> used;
      std::size_t count = 0;
      for (const BlockTable& t : tables) {
        used.insert(t.ids().begin(), t.ids().end());
        count += t.ids().size();
      }
      RC_ASSERT(used.size() == count);
      RC_ASSERT(static_cast<std::int32_t>(count) + pool.free_blocks() == pool.num_blocks());
    }
  }
  RC_ASSERT(pool.free_blocks() == 12);
}

TEST(LatentCache, RefusesABlockSizeThatIsNoMultipleOf16) {
  const std::vector<LatentCache::Layer> layers{{{CacheType::kInt8, 512, 64}, 0.1F}};

  EXPECT_THROW(LatentCache(layers, 24, 1), Error);
}

TEST(LatentCache, CountsBytesPerTokenAsTheFormatSays) {
  const std::vector<LatentCache::Layer> layers{{{CacheType::kInt8, 512, 64}, 0.1F},
                                               {{CacheType::kF16, 512, 64}, 1.0F}};

  EXPECT_EQ(LatentCache::bytes_per_token(layers), 640 + 1152);
}

}  // namespace
}  // namespace latent8
