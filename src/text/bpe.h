#pragma once
// Byte-pair merging of one piece of text.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace latent8 {

// One merge rule: the neighbours left, right become result. Lower ranks go first, of equal ones the leftmost.
struct Merge {
  std::int32_t left;
  std::int32_t right;
  std::int32_t result;
  std::int32_t rank;
};

struct BpeModel {
  // The token of each single byte; -1: none. Where `characters` is empty, pieces begin as bytes. Else bytes
  // stand for characters without a token (byte_fallback), all of a character's or none.
  std::array<std::int32_t, 256> byte_ids;
  // The token of each single character, by its UTF-8; if not empty, pieces begin as characters.
  std::unordered_map<std::string, std::int32_t> characters;
  // What stands for a byte or character that has none of these; nullopt: it is left out.
  std::optional<std::int32_t> unknown;
  bool fuse_unknown = false;  // one for a run of them
  std::vector<Merge> merges;
  // Tokens that a piece equal to them becomes at once, without merging (ignore_merges); empty: none.
  std::unordered_map<std::string, std::int32_t> whole_words;
};

// Thread-safety: immutable after construction.
class Bpe {
 public:
  explicit Bpe(BpeModel model);

  // Appends the tokens of piece to ids. O(n log n): a heap of candidate merges over a linked list.
  // REQUIRES: piece is UTF-8 if the model has characters.
  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const;

 private:
  struct Rule {
    std::uint64_t pair;  // left << 32 | right; kEmpty: free slot
    std::int32_t rank;
    std::int32_t result;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};

  const Rule* find(std::int32_t left, std::int32_t right) const;
  // The tokens that merging begins with.
  void begin(std::string_view piece, std::vector<std::int32_t>& ids) const;
  // Adds the tokens of one byte or character; false if there are none.
  bool add_symbol(std::string_view symbol, std::vector<std::int32_t>& ids) const;

  std::array<std::int32_t, 256> byte_ids_;
  std::unordered_map<std::string, std::int32_t> characters_;
  std::optional<std::int32_t> unknown_;
  bool fuse_unknown_;
  std::vector<Rule> rules_;  // open addressing, power of two, at most half full
  int shift_ = 0;            // 64 - log2(rules_.size())
  std::unordered_map<std::string, std::int32_t> whole_words_;
};

}  // namespace latent8
