#pragma once
// What may be kept in memory beyond what a run cannot do without.

#include <cstdint>
#include <optional>
#include <utility>

namespace latent8 {

// Bytes that large buffers share. Thread-safety: none. Ownership: shares refer to the budget, which must
// outlive them.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::int64_t bytes) : left_(bytes) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  // Gives its bytes back when it goes.
  class Share {
   public:
    Share(MemoryBudget& budget, std::int64_t bytes) : budget_(&budget), bytes_(bytes) {
      budget.left_ -= bytes;
    }
    ~Share() {
      if (budget_ != nullptr) budget_->left_ += bytes_;
    }
    Share(Share&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }

   private:
    MemoryBudget* budget_;
    std::int64_t bytes_;
  };

  std::int64_t left() const { return left_; }
  // None if there is no room.
  std::optional<Share> take(std::int64_t bytes) {
    if (bytes > left_) return {};
    return Share(*this, bytes);
  }

 private:
  std::int64_t left_;
};

}  // namespace latent8
