#include "text/bpe.h"

#include <bit>
#include <queue>

#include "base/check.h"

namespace latent8 {
namespace {

constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio: spreads neighbouring pairs

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
}

struct Node {
  std::int32_t id;
  std::int32_t previous;  // -1: none
  std::int32_t next;      // -1: none
};

// A merge that was possible when it was found; stale if one of its nodes has changed since.
struct Candidate {
  std::int32_t rank;
  std::int32_t at;  // left node
  std::int32_t left, right, result;
};

struct Later {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  }
};

constexpr std::int32_t kGone = -1;

}  // namespace

Bpe::Bpe(std::vector<std::int32_t> byte_ids, std::span<const Merge> merges,
         std::unordered_map<std::string, std::int32_t> whole_words)
    : byte_ids_(std::move(byte_ids)), whole_words_(std::move(whole_words)) {
  LATENT8_CHECK_EQ(byte_ids_.size(), 256u);
  const std::size_t size = std::bit_ceil(2 * merges.size() + 2);
  shift_ = 64 - std::countr_zero(size);
  rules_.assign(size, Rule{kEmpty, 0, 0});
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::uint64_t key = pair_key(merges[rank].left, merges[rank].right);
    std::size_t slot = (key * kGolden) >> shift_;
    while (rules_[slot].pair != kEmpty && rules_[slot].pair != key) slot = (slot + 1) & (size - 1);
    // A pair listed twice keeps its last rank, as a map filled in file order would.
    rules_[slot] = Rule{key, static_cast<std::int32_t>(rank), merges[rank].result};
  }
}

const Bpe::Rule* Bpe::find(std::int32_t left, std::int32_t right) const {
  const std::uint64_t key = pair_key(left, right);
  for (std::size_t slot = (key * kGolden) >> shift_;; slot = (slot + 1) & (rules_.size() - 1)) {
    if (rules_[slot].pair == key) return &rules_[slot];
    if (rules_[slot].pair == kEmpty) return nullptr;
  }
}

void Bpe::encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  if (piece.empty()) return;
  if (!whole_words_.empty()) {
    const auto word = whole_words_.find(std::string(piece));
    if (word != whole_words_.end()) return ids.push_back(word->second);
  }
  const auto n = static_cast<std::int32_t>(piece.size());
  std::vector<Node> nodes(piece.size());
  for (std::int32_t i = 0; i < n; ++i) {
    nodes[i] = {byte_ids_[static_cast<unsigned char>(piece[i])], i - 1, i + 1 < n ? i + 1 : -1};
  }
  std::vector<Candidate> storage;
  storage.reserve(piece.size());
  std::priority_queue<Candidate, std::vector<Candidate>, Later> queue(Later{}, std::move(storage));
  const auto consider = [&](std::int32_t at) {
    const std::int32_t next = at < 0 ? -1 : nodes[at].next;
    if (next < 0) return;
    if (const Rule* rule = find(nodes[at].id, nodes[next].id)) {
      queue.push({rule->rank, at, nodes[at].id, nodes[next].id, rule->result});
    }
  };
  for (std::int32_t i = 0; i + 1 < n; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Node& left = nodes[best.at];
    if (left.id != best.left || left.next < 0 || nodes[left.next].id != best.right) continue;
    Node& right = nodes[left.next];
    left.id = best.result;
    right.id = kGone;
    left.next = right.next;
    if (left.next >= 0) nodes[left.next].previous = best.at;
    consider(left.previous);
    consider(best.at);
  }
  for (std::int32_t i = 0; i >= 0; i = nodes[i].next) ids.push_back(nodes[i].id);
}

}  // namespace latent8
