#include "kv/block_pool.h"

#include <utility>

#include "base/check.h"

namespace latent8 {

BlockRef::BlockRef(const BlockRef& other) : pool_(other.pool_), id_(other.id_) {
  if (pool_ != nullptr) pool_->add_share(id_);
}

BlockRef::BlockRef(BlockRef&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), id_(std::exchange(other.id_, -1)) {}

BlockRef& BlockRef::operator=(BlockRef other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(id_, other.id_);
  return *this;
}

BlockRef::~BlockRef() {
  if (pool_ != nullptr) pool_->drop_share(id_);
}

BlockPool::BlockPool(std::int32_t num_blocks)
    : kept_(static_cast<std::size_t>(num_blocks), 0), shares_(static_cast<std::size_t>(num_blocks), 0) {
  free_.reserve(shares_.size());
  for (std::int32_t id = num_blocks - 1; id >= 0; --id) free_.push_back(id);
  for (std::int32_t id = 0; id < num_blocks; ++id) place_.push_back(others_.insert(others_.end(), id));
}

BlockPool::~BlockPool() { LATENT8_CHECK_EQ(free_blocks(), num_blocks()); }

std::optional<BlockRef> BlockPool::allocate() {
  if (!free_.empty()) {
    const std::int32_t id = free_.back();
    free_.pop_back();
    add_share(id);
    return BlockRef(this, id);
  }
  if (kept_free_.empty()) return std::nullopt;
  const std::int32_t id = kept_free_.front();
  BlockRef block = share(id);
  kept_[static_cast<std::size_t>(id)] = 0;
  if (forget_) forget_(id);
  return block;
}

void BlockPool::keep(std::int32_t id) {
  LATENT8_CHECK(shares_[static_cast<std::size_t>(id)] > 0);
  kept_[static_cast<std::size_t>(id)] = 1;
}

void BlockPool::unkeep(std::int32_t id) {
  const auto i = static_cast<std::size_t>(id);
  LATENT8_CHECK(kept_[i] != 0);
  kept_[i] = 0;
  if (shares_[i] > 0) return;
  others_.splice(others_.end(), kept_free_, place_[i]);
  free_.push_back(id);
}

BlockRef BlockPool::share(std::int32_t id) {
  const auto i = static_cast<std::size_t>(id);
  LATENT8_CHECK(kept_[i] != 0);
  if (shares_[i] == 0) others_.splice(others_.end(), kept_free_, place_[i]);
  add_share(id);
  return BlockRef(this, id);
}

void BlockPool::add_share(std::int32_t id) { ++shares_[static_cast<std::size_t>(id)]; }

void BlockPool::drop_share(std::int32_t id) noexcept {
  const auto i = static_cast<std::size_t>(id);
  if (--shares_[i] > 0) return;
  if (kept_[i] != 0)
    kept_free_.splice(kept_free_.end(), others_, place_[i]);
  else
    free_.push_back(id);  // within the reserved capacity
}

bool BlockTable::reserve(BlockPool& pool, std::int64_t tokens) {
  const auto wanted = static_cast<std::size_t>((tokens + block_size_ - 1) / block_size_);
  const std::size_t before = blocks_.size();
  while (blocks_.size() < wanted) {
    std::optional<BlockRef> block = pool.allocate();
    if (!block) {
      truncate(static_cast<std::int64_t>(before) * block_size_);
      return false;
    }
    append(std::move(*block));
  }
  return true;
}

void BlockTable::append(BlockRef block) {
  ids_.push_back(block.id());
  blocks_.push_back(std::move(block));
}

void BlockTable::truncate(std::int64_t tokens) {
  const auto wanted = static_cast<std::size_t>((tokens + block_size_ - 1) / block_size_);
  while (blocks_.size() > wanted) {
    blocks_.pop_back();
    ids_.pop_back();
  }
}

}  // namespace latent8
