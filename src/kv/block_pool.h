#pragma once
// Which cache blocks are free, and who holds the others.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace latent8 {

class BlockPool;

// One share of one block; the block returns to its pool when the last share is dropped.
// Thread-safety: none; a pool and its handles belong to one thread.
class BlockRef {
 public:
  BlockRef() = default;
  BlockRef(const BlockRef& other);
  BlockRef(BlockRef&& other) noexcept;
  BlockRef& operator=(BlockRef other) noexcept;
  ~BlockRef();

  std::int32_t id() const { return id_; }

 private:
  friend class BlockPool;
  BlockRef(BlockPool* pool, std::int32_t id) : pool_(pool), id_(id) {}

  BlockPool* pool_ = nullptr;
  std::int32_t id_ = -1;
};

// Invariant: free_blocks() + blocks with a live BlockRef = num_blocks().
// Ownership: must outlive its handles.
class BlockPool {
 public:
  explicit BlockPool(std::int32_t num_blocks);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  std::int32_t num_blocks() const { return static_cast<std::int32_t>(shares_.size()); }
  std::int32_t free_blocks() const { return static_cast<std::int32_t>(free_.size()); }
  [[nodiscard]] std::optional<BlockRef> allocate();  // empty if no block is free

 private:
  friend class BlockRef;
  void add_share(std::int32_t id);
  void drop_share(std::int32_t id) noexcept;

  std::vector<std::int32_t> free_;  // a stack: the block freed last is used first, it may still be in a cache
  std::vector<std::int32_t> shares_;  // [num_blocks]
};

// The blocks of one sequence, in order of its tokens.
class BlockTable {
 public:
  explicit BlockTable(std::int64_t block_size) : block_size_(block_size) {}

  // Takes blocks from the pool until `tokens` fit. false: the pool ran out, and the table is as it was
  // before.
  [[nodiscard]] bool reserve(BlockPool& pool, std::int64_t tokens);
  void truncate(std::int64_t tokens);  // gives back the blocks that `tokens` do not need
  void clear() { truncate(0); }

  std::span<const std::int32_t> ids() const { return ids_; }
  std::int32_t slot(std::int64_t position) const;  // block_id * block_size + offset

 private:
  std::int64_t block_size_;
  std::vector<BlockRef> blocks_;
  std::vector<std::int32_t> ids_;  // blocks_[i].id(), in the form that the model step reads
};

}  // namespace latent8
