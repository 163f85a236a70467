#pragma once
// Byte-pair merging of one piece of text.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace latent8 {

// One merge rule: the neighbours left, right become result. Lower ranks go first.
struct Merge {
  std::int32_t left;
  std::int32_t right;
  std::int32_t result;
};

// Thread-safety: immutable after construction.
class Bpe {
 public:
  // byte_ids [256]  the token of each single byte
  // merges          in rank order
  // whole_words     tokens that a piece equal to them becomes at once, without merging (ignore_merges);
  //                 empty: none
  Bpe(std::vector<std::int32_t> byte_ids, std::span<const Merge> merges,
      std::unordered_map<std::string, std::int32_t> whole_words);

  // Appends the tokens of piece to ids. O(n log n): a heap of candidate merges over a linked list.
  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const;

 private:
  struct Rule {
    std::uint64_t pair;  // left << 32 | right; kEmpty: free slot
    std::int32_t rank;
    std::int32_t result;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};

  const Rule* find(std::int32_t left, std::int32_t right) const;

  std::vector<std::int32_t> byte_ids_;
  std::vector<Rule> rules_;  // open addressing, power of two, at most half full
  int shift_ = 0;            // 64 - log2(rules_.size())
  std::unordered_map<std::string, std::int32_t> whole_words_;
};

}  // namespace latent8
