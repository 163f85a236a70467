#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode_property.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

std::size_t skip_space(std::string_view text, std::size_t at, std::size_t end) {
  while (at < end) {
    const Utf8Step step = utf8_front(text.substr(at, end - at));
    if (step.kind != Utf8Front::kCharacter || !is_white_space(step.code_point)) break;
    at += step.length;
  }
  return at;
}

// Where the white space that ends at `at` begins, not before `begin`.
std::size_t skip_space_back(std::string_view text, std::size_t at, std::size_t begin) {
  while (at > begin) {
    std::size_t start = at - 1;
    while (start > begin && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    if (!is_white_space(utf8_front(text.substr(start, at - start)).code_point)) break;
    at = start;
  }
  return at;
}

// \w of the regular expressions that the library uses here (Rust's): the joiners too, unlike Oniguruma's.
bool is_word_character(std::string_view character) {
  static const SplitRegex word =
      SplitRegex::from_pcre("[" + posix_bracket("word")->members + "\\x{200c}\\x{200d}]");
  SplitRegex::Matcher matcher;
  bool found = false;
  word.for_each_match(character, matcher, [&](TextRange) { found = true; });
  return found;
}

bool touches_word(std::string_view text, TextRange range, std::size_t begin, std::size_t end) {
  std::size_t before = begin;
  while (before > range.begin && before + 4 > begin) {
    --before;
    if ((static_cast<unsigned char>(text[before]) & 0xC0) != 0x80) break;
  }
  if (before < begin && is_word_character(text.substr(before, begin - before))) return true;
  return end < range.end &&
         is_word_character(text.substr(end, utf8_front(text.substr(end, range.end - end)).length));
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), nodes_(1) {
  for (std::size_t index = 0; index < tokens_.size(); ++index) {
    std::int32_t node = 0;
    for (const char byte : tokens_[index].content) {
      std::int32_t next = child(node, byte);
      if (next < 0) {
        next = static_cast<std::int32_t>(nodes_.size());
        auto& children = nodes_[node].children;
        children.insert(std::lower_bound(children.begin(), children.end(), std::pair{byte, std::int32_t{0}}),
                        {byte, next});
        nodes_.emplace_back();
      }
      node = next;
    }
    nodes_[node].token = static_cast<std::int32_t>(index);
  }
}

std::int32_t AddedTokenMatcher::child(std::int32_t node, char byte) const {
  const auto& children = nodes_[node].children;
  const auto found = std::lower_bound(children.begin(), children.end(), std::pair{byte, std::int32_t{0}});
  return found != children.end() && found->first == byte ? found->second : -1;
}

const AddedToken* AddedTokenMatcher::longest(std::string_view text) const {
  const AddedToken* best = nullptr;
  std::int32_t node = 0;
  for (const char byte : text) {
    node = child(node, byte);
    if (node < 0) break;
    if (nodes_[node].token >= 0) best = &tokens_[nodes_[node].token];
  }
  return best;
}

void AddedTokenMatcher::split(std::string_view text, TextRange range,
                              std::vector<TextSegment>& segments) const {
  std::size_t done = range.begin;
  for (std::size_t at = range.begin; at < range.end;) {
    const AddedToken* token = longest(text.substr(at, range.end - at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t end = at + token->content.size();
    if (token->single_word && touches_word(text, range, at, end)) {
      at = end;
      continue;
    }
    const std::size_t begin = token->lstrip ? skip_space_back(text, at, done) : at;
    if (token->rstrip) end = skip_space(text, end, range.end);
    if (done < begin) segments.push_back({-1, {done, begin}});
    segments.push_back({token->id, {begin, end}});
    done = at = end;
  }
  if (done < range.end) segments.push_back({-1, {done, range.end}});
}

}  // namespace latent8
