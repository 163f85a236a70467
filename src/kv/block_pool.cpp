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

BlockPool::BlockPool(std::int32_t num_blocks) : shares_(static_cast<std::size_t>(num_blocks), 0) {
  free_.reserve(shares_.size());
  for (std::int32_t id = num_blocks - 1; id >= 0; --id) free_.push_back(id);
}

BlockPool::~BlockPool() { LATENT8_CHECK_EQ(free_.size(), shares_.size()); }

std::optional<BlockRef> BlockPool::allocate() {
  if (free_.empty()) return std::nullopt;
  const std::int32_t id = free_.back();
  free_.pop_back();
  add_share(id);
  return BlockRef(this, id);
}

void BlockPool::add_share(std::int32_t id) { ++shares_[static_cast<std::size_t>(id)]; }

void BlockPool::drop_share(std::int32_t id) noexcept {
  if (--shares_[static_cast<std::size_t>(id)] == 0) free_.push_back(id);  // within the reserved capacity
}

bool BlockTable::reserve(BlockPool& pool, std::int64_t tokens) {
  const auto wanted = static_cast<std::size_t>((tokens + block_size_ - 1) / block_size_);
  const std::size_t before = blocks_.size();
  while (blocks_.size() < wanted) {
    std::optional<BlockRef> block = pool.allocate();
    if (!block) {
      blocks_.resize(before);
      ids_.resize(before);
      return false;
    }
    ids_.push_back(block->id());
    blocks_.push_back(std::move(*block));
  }
  return true;
}

void BlockTable::truncate(std::int64_t tokens) {
  const auto wanted = static_cast<std::size_t>((tokens + block_size_ - 1) / block_size_);
  if (wanted >= blocks_.size()) return;
  blocks_.resize(wanted);
  ids_.resize(wanted);
}

std::int32_t BlockTable::slot(std::int64_t position) const {
  const std::int32_t id = ids_[static_cast<std::size_t>(position / block_size_)];
  return static_cast<std::int32_t>(id * block_size_ + position % block_size_);
}

}  // namespace latent8
