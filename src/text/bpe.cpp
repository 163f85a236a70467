#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <queue>

#include "text/utf8.h"

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

Bpe::Bpe(BpeModel model)
    : byte_ids_(model.byte_ids),
      characters_(std::move(model.characters)),
      unknown_(model.unknown),
      fuse_unknown_(model.fuse_unknown),
      whole_words_(std::move(model.whole_words)) {
  const std::size_t size = std::bit_ceil(2 * model.merges.size() + 2);
  shift_ = 64 - std::countr_zero(size);
  rules_.assign(size, Rule{kEmpty, 0, 0});
  for (const Merge& merge : model.merges) {
    const std::uint64_t key = pair_key(merge.left, merge.right);
    std::size_t slot = (key * kGolden) >> shift_;
    while (rules_[slot].pair != kEmpty && rules_[slot].pair != key) slot = (slot + 1) & (size - 1);
    // A pair listed twice keeps its last rank, as a map filled in file order would.
    rules_[slot] = Rule{key, merge.rank, merge.result};
  }
}

const Bpe::Rule* Bpe::find(std::int32_t left, std::int32_t right) const {
  const std::uint64_t key = pair_key(left, right);
  for (std::size_t slot = (key * kGolden) >> shift_;; slot = (slot + 1) & (rules_.size() - 1)) {
    if (rules_[slot].pair == key) return &rules_[slot];
    if (rules_[slot].pair == kEmpty) return nullptr;
  }
}

void Bpe::begin(std::string_view piece, std::vector<std::int32_t>& ids) const {
  ids.reserve(piece.size());
  bool after_unknown = false;
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t length = characters_.empty() ? 1 : utf8_front(piece.substr(at)).length;
    const bool known = add_symbol(piece.substr(at, length), ids);
    if (!known && unknown_ && !(after_unknown && fuse_unknown_)) ids.push_back(*unknown_);
    after_unknown = !known;
    at += length;
  }
}

bool Bpe::add_symbol(std::string_view symbol, std::vector<std::int32_t>& ids) const {
  if (const auto found = characters_.empty() ? characters_.end() : characters_.find(std::string(symbol));
      found != characters_.end()) {
    ids.push_back(found->second);
    return true;
  }
  const auto id_of = [this](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
  if (!std::all_of(symbol.begin(), symbol.end(), [&](char byte) { return id_of(byte) >= 0; })) return false;
  for (const char byte : symbol) ids.push_back(id_of(byte));
  return true;
}

void Bpe::encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  if (piece.empty()) return;
  if (!whole_words_.empty()) {
    const auto word = whole_words_.find(std::string(piece));
    if (word != whole_words_.end()) return ids.push_back(word->second);
  }
  std::vector<std::int32_t> start;
  begin(piece, start);
  const auto n = static_cast<std::int32_t>(start.size());
  if (n == 0) return;
  std::vector<Node> nodes(start.size());
  for (std::int32_t i = 0; i < n; ++i) nodes[i] = {start[i], i - 1, i + 1 < n ? i + 1 : -1};
  std::vector<Candidate> storage;
  storage.reserve(start.size());
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
