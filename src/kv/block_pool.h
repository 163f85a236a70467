#pragma once
// Which cache blocks are free, and who holds the others.

#include <cstdint>
#include <functional>
#include <list>
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

// A free block may be kept: whoever knows what it holds can have it back until it is allocated anew.
// Invariant: free_blocks() + blocks with a live BlockRef = num_blocks(); kept blocks without one are free.
// Ownership: must outlive its handles.
class BlockPool {
 public:
  explicit BlockPool(std::int32_t num_blocks);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  std::int32_t num_blocks() const { return static_cast<std::int32_t>(shares_.size()); }
  std::int32_t free_blocks() const { return static_cast<std::int32_t>(free_.size() + kept_free_.size()); }
  // Empty if no block is free. Blocks that are kept come last, the one that became free first before others.
  [[nodiscard]] std::optional<BlockRef> allocate();

  // From now on the block's contents are worth keeping. REQUIRES: it has a share.
  void keep(std::int32_t id);
  void unkeep(std::int32_t id);
  // One more share of a block that is kept, free or not.
  [[nodiscard]] BlockRef share(std::int32_t id);
  // Called when a kept block is allocated anew, and so is kept no longer.
  void on_forget(std::function<void(std::int32_t id)> callback) { forget_ = std::move(callback); }

 private:
  friend class BlockRef;
  void add_share(std::int32_t id);
  void drop_share(std::int32_t id) noexcept;

  std::vector<std::int32_t> free_;  // a stack: the block freed last is used first, it may still be in a cache
  // Each block has a place in one of these two; of the blocks that are kept and free, the one that became so
  // first is in front.
  std::list<std::int32_t> kept_free_, others_;
  std::vector<std::list<std::int32_t>::iterator> place_;  // [num_blocks]
  std::vector<char> kept_;                                // [num_blocks]
  std::vector<std::int32_t> shares_;                      // [num_blocks]
  std::function<void(std::int32_t)> forget_;
};

// The blocks of one sequence, in order of its tokens.
class BlockTable {
 public:
  explicit BlockTable(std::int64_t block_size) : block_size_(block_size) {}

  // Takes blocks from the pool until `tokens` fit. false: the pool ran out, and the table is as it was
  // before.
  [[nodiscard]] bool reserve(BlockPool& pool, std::int64_t tokens);
  void append(BlockRef block);
  void truncate(std::int64_t tokens);  // gives back the blocks that `tokens` do not need, the last one first
  void clear() { truncate(0); }

  std::span<const std::int32_t> ids() const { return ids_; }

 private:
  std::int64_t block_size_;
  std::vector<BlockRef> blocks_;
  std::vector<std::int32_t> ids_;  // blocks_[i].id(), in the form that the model step reads
};

}  // namespace latent8
