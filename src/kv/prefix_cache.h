#pragma once
// Which full blocks of the latent cache hold which tokens, so that a prompt that begins like one before it is
// not computed again.

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "kv/block_pool.h"

namespace latent8 {

// A place in the tree of prefixes that the cache has seen: a full block behind other full blocks.
struct PrefixNode {
  std::uint64_t key = 0;     // of all tokens up to here
  std::uint64_t serial = 0;  // never given twice
};

// Blocks are found by a hash of their own tokens and all before them, and taken only if the tokens are the
// same: a block's own are compared, those before it by the block before it being the one that it was kept
// behind. A block that nobody uses stays until the pool needs it, the least recently used first, and of one
// prefix the last block first.
// Thread-safety: none; belongs to the pool's thread. Ownership: refers to the pool, which must outlive it.
class PrefixCache {
 public:
  // The hash of a block: its tokens after those of `before`.
  using Hash = std::uint64_t (*)(std::uint64_t before, std::span<const std::int32_t> tokens);
  static std::uint64_t hash_tokens(std::uint64_t before, std::span<const std::int32_t> tokens);

  // root_key: what the contents of a block depend on beside its tokens (model, scales, layout).
  PrefixCache(BlockPool& pool, std::int64_t block_size, std::uint64_t root_key, Hash hash = hash_tokens);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  PrefixNode root() const { return {root_key_, 0}; }

  struct Found {
    std::vector<BlockRef> blocks;
    PrefixNode last;         // of the last of them
    std::int64_t whole = 0;  // how many of them, from the first on, are whole
  };
  // The blocks of the longest prefix of `tokens` that is kept, in whole blocks.
  Found find(std::span<const std::int32_t> tokens);

  // Keeps a block that holds `tokens` [block_size] behind the prefix `before`. Returns its place; that of the
  // block which is kept for these tokens already if there is one.
  //   whole  every layer's page is written; the MTP layer may have rested
  PrefixNode keep(PrefixNode before, std::span<const std::int32_t> tokens, std::int32_t block,
                  bool whole = true);

  std::size_t size() const { return by_key_.size(); }  // blocks that are kept

 private:
  struct Kept {
    PrefixNode node;
    std::uint64_t before;  // serial
    std::int32_t block;
    bool whole;
    std::vector<std::int32_t> tokens;
  };
  const Kept* find(PrefixNode before, std::span<const std::int32_t> tokens) const;

  BlockPool& pool_;
  std::int64_t block_size_;
  std::uint64_t root_key_;
  Hash hash_;
  std::uint64_t serials_ = 0;
  std::unordered_map<std::uint64_t, Kept> by_key_;
  std::vector<std::uint64_t> key_of_;  // [num_blocks] of the kept ones
};

}  // namespace latent8
