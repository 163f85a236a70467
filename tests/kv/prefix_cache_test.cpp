#include "kv/prefix_cache.h"

#include <gtest/gtest.h>
// rapidcheck's gtest glue needs gtest.h first.
#include <rapidcheck/gtest.h>

#include <map>
#include <vector>

namespace latent8 {
namespace {

constexpr std::int64_t kSize = 4;
using Tokens = std::vector<std::int32_t>;

std::uint64_t one_for_all(std::uint64_t, std::span<const std::int32_t>) { return 7; }

// Keeps blocks for all whole blocks of `tokens` behind what is kept already, as a sequence that was computed;
// the table's blocks are free again afterwards.
std::vector<std::int32_t> compute(BlockPool& pool, PrefixCache& cache, const Tokens& tokens) {
  BlockTable table(kSize);
  PrefixCache::Found found = cache.find(tokens);
  const auto known = static_cast<std::int64_t>(found.blocks.size());
  for (BlockRef& block : found.blocks) table.append(std::move(block));
  EXPECT_TRUE(table.reserve(pool, static_cast<std::int64_t>(tokens.size())));
  PrefixNode node = found.last;
  const std::span<const std::int32_t> all(tokens);
  for (std::int64_t i = known; (i + 1) * kSize <= static_cast<std::int64_t>(tokens.size()); ++i)
    node = cache.keep(node, all.subspan(static_cast<std::size_t>(i * kSize), kSize),
                      table.ids()[static_cast<std::size_t>(i)]);
  const std::vector<std::int32_t> ids(table.ids().begin(), table.ids().end());
  table.clear();
  return ids;
}

std::size_t found(PrefixCache& cache, const Tokens& tokens) { return cache.find(tokens).blocks.size(); }

TEST(PrefixCache, FindsTheLongestPrefixInWholeBlocks) {
  BlockPool pool(8);
  PrefixCache cache(pool, kSize, 0);
  const std::vector<std::int32_t> blocks = compute(pool, cache, {1, 2, 3, 4, 5, 6, 7, 8, 9});

  const PrefixCache::Found hit = cache.find(Tokens{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});

  ASSERT_EQ(hit.blocks.size(), 2U);
  EXPECT_EQ(hit.blocks[0].id(), blocks[0]);
  EXPECT_EQ(hit.blocks[1].id(), blocks[1]);
  EXPECT_EQ(found(cache, {1, 2, 3, 4, 5, 6, 7}), 1U);
  EXPECT_EQ(found(cache, {1, 2, 3, 5}), 0U);
  EXPECT_EQ(found(cache, {5, 6, 7, 8}), 0U);  // these, but behind others
}

TEST(PrefixCache, AnswersNothingForAnotherRoot) {
  EXPECT_NE(PrefixCache::hash_tokens(1, Tokens{1, 2}), PrefixCache::hash_tokens(2, Tokens{1, 2}));
}

// With one hash for everything each block replaces the one before it, and none is taken for another.
TEST(PrefixCache, ComparesTokensAndNotHashes) {
  BlockPool pool(8);
  PrefixCache cache(pool, kSize, 0, one_for_all);
  compute(pool, cache, {1, 2, 3, 4});
  EXPECT_EQ(found(cache, {1, 2, 3, 4}), 1U);
  EXPECT_EQ(found(cache, {4, 3, 2, 1}), 0U);

  compute(pool, cache,
          {9, 9, 9, 9, 1, 2, 3, 4});  // the second block's own tokens are those of the first prompt

  EXPECT_EQ(cache.size(), 1U);
  EXPECT_EQ(found(cache, {1, 2, 3, 4}), 0U);
  EXPECT_EQ(pool.free_blocks(), 8);
}

TEST(PrefixCache, GivesTheLeastRecentlyUsedAwayFirst) {
  BlockPool pool(3);
  PrefixCache cache(pool, kSize, 0);
  for (const std::int32_t token : {1, 2, 3}) compute(pool, cache, Tokens(4, token));
  EXPECT_EQ(found(cache, Tokens(4, 1)), 1U);  // used again: now 2 is the oldest

  compute(pool, cache, Tokens(4, 4));

  EXPECT_EQ(found(cache, Tokens(4, 2)), 0U);
  EXPECT_EQ(found(cache, Tokens(4, 1)), 1U);
  EXPECT_EQ(found(cache, Tokens(4, 3)), 1U);
}

TEST(PrefixCache, GivesTheLastBlockOfAPrefixAwayFirst) {
  BlockPool pool(3);
  PrefixCache cache(pool, kSize, 0);
  compute(pool, cache, Tokens(12, 1));

  compute(pool, cache, Tokens(4, 2));

  EXPECT_EQ(found(cache, Tokens(12, 1)), 2U);
}

TEST(PrefixCache, KeepsOneBlockForTokensThatTwoComputed) {
  BlockPool pool(4);
  PrefixCache cache(pool, kSize, 0);
  const Tokens tokens(4, 1);
  const std::optional<BlockRef> first = pool.allocate(), second = pool.allocate();

  const PrefixNode a = cache.keep(cache.root(), tokens, first->id());
  const PrefixNode b = cache.keep(cache.root(), tokens, second->id());

  EXPECT_EQ(a.serial, b.serial);
  EXPECT_EQ(cache.find(tokens).blocks[0].id(), first->id());
}

// A block behind a prefix that was given away is not found, and a new one takes its place.
TEST(PrefixCache, ReplacesABlockBehindAPrefixThatIsGone) {
  BlockPool pool(4);
  PrefixCache cache(pool, kSize, 0);
  const Tokens tokens{1, 1, 1, 1, 2, 2, 2, 2};
  compute(pool, cache, tokens);
  const std::optional<BlockRef> child = std::move(cache.find(tokens).blocks[1]);
  compute(pool, cache, Tokens(12, 3));  // takes the two that are empty, and the parent
  EXPECT_EQ(found(cache, tokens), 0U);

  compute(pool, cache, tokens);

  EXPECT_EQ(found(cache, tokens), 2U);
}

// What a block holds, kept apart by the test: every hit holds the tokens that were asked for, at every place.
RC_GTEST_PROP(PrefixCache, HitsHoldTheTokensThatWereAskedFor, ()) {
  BlockPool pool(*rc::gen::inRange(4, 12));
  PrefixCache cache(pool, kSize, 0);
  std::map<std::int32_t, Tokens> contents;  // of each block: all tokens up to its end
  for (int step = 0; step < 80; ++step) {
    Tokens tokens =
        *rc::gen::container<Tokens>(*rc::gen::inRange<std::size_t>(1, 16), rc::gen::inRange(0, 2));
    const PrefixCache::Found hit = cache.find(tokens);
    for (std::size_t i = 0; i < hit.blocks.size(); ++i) {
      const auto end = static_cast<std::ptrdiff_t>((i + 1) * kSize);
      RC_ASSERT(contents.at(hit.blocks[i].id()) == Tokens(tokens.begin(), tokens.begin() + end));
    }
    const std::size_t known = hit.blocks.size();
    const std::vector<std::int32_t> blocks = compute(pool, cache, tokens);
    for (std::size_t i = known; (i + 1) * kSize <= tokens.size(); ++i)
      contents[blocks[i]] =
          Tokens(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>((i + 1) * kSize));
    RC_ASSERT(cache.size() <= static_cast<std::size_t>(pool.num_blocks()));
  }
  RC_ASSERT(pool.free_blocks() == pool.num_blocks());
}

}  // namespace
}  // namespace latent8
