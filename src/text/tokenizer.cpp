#include "text/tokenizer.h"

#include <functional>
#include <unordered_map>

#include "base/error.h"
#include "text/incremental_detokenizer.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

// Pieces repeat: in running text nine of ten are met again. The cache lives for one call of encode, so that
// threads share nothing; it stops growing at a size that long texts do not reach by words alone.
constexpr std::size_t kCachedPieces = 1 << 16;
constexpr std::size_t kCachedPieceBytes = 64;

std::string_view part(std::string_view text, TextRange range) {
  return text.substr(range.begin, range.end - range.begin);
}

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
  // Looked up by a view, owned: pieces may be of a changed copy of the text that is gone by the next segment.
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  const Bpe& bpe_;
  std::unordered_map<std::string, std::vector<std::int32_t>, Hash, std::equal_to<>> known_;
};

// One call of encode.
class Encoding {
 public:
  Encoding(const Tokenizer::Parts& parts, bool special, std::vector<std::int32_t>& ids)
      : parts_(parts), special_(special), ids_(ids), cache_(parts.bpe) {}

  // Tokens that match the text as written come first, over the whole text; those that match the normalised
  // text only get what is left.
  void add(std::string_view text) {
    if (!special_) return add_plain(text, true);
    std::vector<TextSegment> segments;
    parts_.added.split(text, {0, text.size()}, segments);
    for (const TextSegment& segment : segments) {
      if (segment.id >= 0) {
        ids_.push_back(segment.id);
      } else {
        add_plain(part(text, segment.range), segment.range.begin == 0);
      }
    }
  }

 private:
  // Text without tokens that match it as written.
  void add_plain(std::string_view text, bool at_start) {
    std::string normalized;
    if (!parts_.normalizer.changes_nothing()) {
      normalized = parts_.normalizer.apply(text, matcher_);
      text = normalized;
    }
    if (!special_) return add_pieces(text, at_start);
    std::vector<TextSegment> segments;
    parts_.added_normalized.split(text, {0, text.size()}, segments);
    for (const TextSegment& segment : segments) {
      if (segment.id >= 0) {
        ids_.push_back(segment.id);
      } else {
        add_pieces(part(text, segment.range), at_start && segment.range.begin == 0);
      }
    }
  }

  void add_pieces(std::string_view text, bool at_start) {
    parts_.pre_tokenizer.split(text, at_start, matcher_, pieces_);
    for (const TextRange range : pieces_.ranges) cache_.encode(part(pieces_.text, range), ids_);
  }

  const Tokenizer::Parts& parts_;
  bool special_;
  std::vector<std::int32_t>& ids_;
  PieceCache cache_;
  SplitRegex::Matcher matcher_;
  PreTokenizer::Pieces pieces_;
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
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 4 + 1);
  Encoding encoding(*parts_, special, ids);
  if (!parts_->is_tiktoken) {
    encoding.add(text);
  } else {
    for (const TextRange chunk : tiktoken_chunks(text)) encoding.add(part(text, chunk));
  }
  return ids;
}

std::vector<std::int32_t> Tokenizer::encode_prompt(std::string_view text) const {
  const Affixes& affixes = parts_->affixes;
  std::vector<std::int32_t> ids = encode(text);
  const bool begins = bos_id() && !affixes.prefix.empty() && affixes.prefix.back() == *bos_id() &&
                      !ids.empty() && ids.front() == *bos_id();
  ids.insert(ids.begin(), affixes.prefix.begin(), affixes.prefix.end() - (begins ? 1 : 0));
  ids.insert(ids.end(), affixes.suffix.begin(), affixes.suffix.end());
  return ids;
}

std::int64_t Tokenizer::least_tokens(std::size_t bytes) const {
  const std::size_t longest = parts_->longest_token;
  return longest == 0 ? 0 : static_cast<std::int64_t>((bytes + longest - 1) / longest);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool keep_special) const {
  IncrementalDetokenizer detokenizer(*this, keep_special);
  std::string text;
  for (const std::int32_t id : ids) text += detokenizer.push(id);
  return text + detokenizer.finish();
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

}  // namespace latent8
