#include "text/tokenizer.h"

#include <unordered_map>

#include "base/error.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

// Pieces repeat: in running text nine of ten are met again. The cache lives for one call of encode, so that
// threads share nothing; it stops growing at a size that long texts do not reach by words alone.
constexpr std::size_t kCachedPieces = 1 << 16;
constexpr std::size_t kCachedPieceBytes = 64;

class PieceCache {
 public:
  explicit PieceCache(const Bpe& bpe) : bpe_(bpe) {}

  void encode(std::string_view piece, std::vector<std::int32_t>& ids) {
    if (piece.size() > kCachedPieceBytes) return bpe_.encode(piece, ids);
    if (const auto found = known_.find(piece); found != known_.end()) {
      ids.insert(ids.end(), found->second.begin(), found->second.end());
      return;
    }
    const auto begin = static_cast<std::ptrdiff_t>(ids.size());
    bpe_.encode(piece, ids);
    if (known_.size() < kCachedPieces) known_.emplace(piece, std::vector(ids.begin() + begin, ids.end()));
  }

 private:
  const Bpe& bpe_;
  std::unordered_map<std::string_view, std::vector<std::int32_t>> known_;  // views of the text being encoded
};

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& dir) { return Tokenizer(read_parts(dir)); }

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool special) const {
  if (const auto bad = first_invalid_utf8(text)) {
    throw_error(ErrorCode::kInvalidArgument,
                "text of {} bytes: byte {} (0x{:02x}) is not UTF-8; send UTF-8 text", text.size(), *bad,
                static_cast<unsigned char>(text[*bad]));
  }
  // Tokens that match the text as written come first, over the whole text; those that match the normalised
  // text (the same here, no normaliser is accepted) only get what is left.
  std::vector<TextSegment> segments;
  if (special) {
    std::vector<TextSegment> first;
    parts_->added.split(text, {0, text.size()}, first);
    for (const TextSegment& segment : first) {
      if (segment.id >= 0) {
        segments.push_back(segment);
      } else {
        parts_->added_normalized.split(text, segment.range, segments);
      }
    }
  } else if (!text.empty()) {
    segments.push_back({-1, {0, text.size()}});
  }

  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 4 + 1);
  PieceCache cache(parts_->bpe);
  SplitRegex::Matcher matcher;
  std::vector<TextRange> pieces;
  for (const TextSegment& segment : segments) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    const std::string_view part = text.substr(segment.range.begin, segment.range.end - segment.range.begin);
    pieces.clear();
    parts_->pre_tokenizer.split(part, matcher, pieces);
    for (const TextRange piece : pieces) cache.encode(part.substr(piece.begin, piece.end - piece.begin), ids);
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool keep_special) const {
  std::string bytes;
  for (const std::int32_t id : ids) {
    if (keep_special || !is_special(id)) bytes += token_bytes(id);
  }
  std::string text;
  text.reserve(bytes.size());
  append_lossy_utf8(text, bytes);
  return text;
}

std::int32_t Tokenizer::vocab_size() const { return static_cast<std::int32_t>(parts_->tokens.size()); }

std::optional<std::int32_t> Tokenizer::token_id(std::string_view token) const {
  const auto found = parts_->ids.find(std::string(token));
  return found == parts_->ids.end() ? std::nullopt : std::optional(found->second);
}

bool Tokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < vocab_size() && parts_->tokens[id].kind == TokenKind::kSpecial;
}

bool Tokenizer::is_added(std::int32_t id) const {
  return is_special(id) || (id >= 0 && id < vocab_size() && parts_->tokens[id].kind == TokenKind::kAdded);
}

std::string_view Tokenizer::token_bytes(std::int32_t id) const {
  return id >= 0 && id < vocab_size() ? std::string_view(parts_->tokens[id].bytes) : std::string_view();
}

std::optional<std::int32_t> Tokenizer::bos_id() const { return parts_->bos_id; }
std::optional<std::int32_t> Tokenizer::eos_id() const { return parts_->eos_id; }
bool Tokenizer::adds_bos() const { return parts_->adds_bos; }

}  // namespace latent8
