#include "text/char_class.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/error.h"
#include "text/split_regex.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

// Categories that PCRE2 finds by table where the list would be long.
constexpr std::array<std::string_view, 12> kShortcuts = {"lu", "ll", "lt", "lm", "lo",  "m",
                                                         "n",  "p",  "s",  "z",  "han", "hangul"};

// Every code point that UTF-8 can have, in order.
std::string all_text() {
  std::string text;
  text.reserve(std::size_t{4} << 20);
  for (char32_t c = 0; c <= kLastCodePoint; ++c)
    if (c < 0xD800 || c > 0xDFFF) append_utf8(text, c);
  return text;
}

CodePointSet surrogates() { return CodePointSet({{0xD800, 0xDFFF}}); }

}  // namespace

std::string class_member(char32_t code_point) {
  return fmt::format("\\x{{{:x}}}", std::uint32_t{code_point});
}

std::string class_member(CodePointRange range) {
  return range.first == range.last ? class_member(range.first)
                                   : class_member(range.first) + "-" + class_member(range.last);
}

std::string pcre_class(const CharClass& char_class) {
  if (!char_class.members.empty()) return (char_class.negated ? "[^" : "[") + char_class.members + "]";
  return char_class.negated ? "(?s:.)" : "(?!)";
}

// The code points that a pattern of one character matches.
CodePointSet CharClassAlgebra::scan(const std::string& pattern) {
  if (all_text_.empty()) all_text_ = all_text();
  const std::string_view text = all_text_;
  const SplitRegex regex = SplitRegex::from_pcre(pattern + "+");
  SplitRegex::Matcher matcher;
  std::vector<CodePointRange> ranges;
  regex.for_each_match(text, matcher, [&](TextRange range) {
    std::size_t last = range.end - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    ranges.push_back(
        {utf8_front(text.substr(range.begin)).code_point, utf8_front(text.substr(last)).code_point});
  });
  return CodePointSet(std::move(ranges));
}

const CodePointSet& CharClassAlgebra::code_points(const CharClass& char_class) {
  const std::string pattern = pcre_class(char_class);
  auto found = known_.find(pattern);
  if (found == known_.end()) found = known_.emplace(pattern, scan(pattern)).first;
  return found->second;
}

CharClass CharClassAlgebra::unite(const CharClass& a, const CharClass& b) {
  if (!a.negated && !b.negated) return {a.members + b.members, false};
  return listed(code_points(a).united(code_points(b)));
}

CharClass CharClassAlgebra::intersect(const CharClass& a, const CharClass& b) {
  if (a.negated && b.negated) return {a.members + b.members, true};
  return listed(code_points(a).intersected(code_points(b)));
}

// Whole categories by name, the rest as ranges; a range may run over code points that a category covers too.
CharClass CharClassAlgebra::listed(const CodePointSet& set) {
  const CodePointSet with_gap = set.united(surrogates());
  CharClass out;
  CodePointSet named;
  for (const std::string_view name : kShortcuts) {
    const CharClass shortcut = *unicode_property(name);
    const CodePointSet& members = code_points(shortcut);
    if (!std::all_of(members.ranges().begin(), members.ranges().end(),
                     [&](const CodePointRange& range) { return with_gap.contains(range); }))
      continue;
    out.members += shortcut.members;
    named = named.united(members);
  }
  const CodePointSet rest = set.intersected(named.complement());
  for (const CodePointRange& range : with_gap.ranges()) {
    // Of this range only from the first to the last code point that no category covers.
    const CodePointSet uncovered = CodePointSet({range}).intersected(rest);
    if (uncovered.ranges().empty()) continue;
    out.members += class_member({uncovered.ranges().front().first, uncovered.ranges().back().last});
  }
  return out;
}

}  // namespace latent8
