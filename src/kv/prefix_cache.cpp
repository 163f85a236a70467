#include "kv/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "base/checksum.h"

namespace latent8 {

std::uint64_t PrefixCache::hash_tokens(std::uint64_t before, std::span<const std::int32_t> tokens) {
  return checksum(std::as_bytes(tokens), before);
}

PrefixCache::PrefixCache(BlockPool& pool, std::int64_t block_size, std::uint64_t root_key, Hash hash)
    : pool_(pool),
      block_size_(block_size),
      root_key_(root_key),
      hash_(hash),
      key_of_(static_cast<std::size_t>(pool.num_blocks())) {
  pool_.on_forget([this](std::int32_t block) { by_key_.erase(key_of_[static_cast<std::size_t>(block)]); });
}

PrefixCache::~PrefixCache() { pool_.on_forget({}); }

const PrefixCache::Kept* PrefixCache::find(PrefixNode before, std::span<const std::int32_t> tokens) const {
  const auto it = by_key_.find(hash_(before.key, tokens));
  if (it == by_key_.end()) return nullptr;
  const Kept& kept = it->second;
  return kept.before == before.serial && std::ranges::equal(kept.tokens, tokens) ? &kept : nullptr;
}

PrefixCache::Found PrefixCache::find(std::span<const std::int32_t> tokens) {
  const auto size = static_cast<std::size_t>(block_size_);
  Found found{.blocks = {}, .last = root(), .whole = 0};
  for (; tokens.size() >= size; tokens = tokens.subspan(size)) {
    const Kept* kept = find(found.last, tokens.first(size));
    if (kept == nullptr) break;
    if (kept->whole && found.whole == std::ssize(found.blocks)) ++found.whole;
    found.blocks.push_back(pool_.share(kept->block));
    found.last = kept->node;
  }
  return found;
}

PrefixNode PrefixCache::keep(PrefixNode before, std::span<const std::int32_t> tokens, std::int32_t block,
                             bool whole) {
  if (const Kept* kept = find(before, tokens)) return kept->node;
  const PrefixNode node{hash_(before.key, tokens), ++serials_};
  const auto [place, is_new] = by_key_.try_emplace(node.key);
  // Another of this hash: other tokens, or a prefix that is kept no longer.
  if (!is_new) pool_.unkeep(place->second.block);
  place->second = {node, before.serial, block, whole, {tokens.begin(), tokens.end()}};
  key_of_[static_cast<std::size_t>(block)] = node.key;
  pool_.keep(block);
  return node;
}

}  // namespace latent8
