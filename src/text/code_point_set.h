#pragma once
// Sets of Unicode code points.

#include <vector>

namespace latent8 {

struct CodePointRange {
  char32_t first;
  char32_t last;  // inclusive
  bool operator==(const CodePointRange&) const = default;
};

constexpr char32_t kLastCodePoint = 0x10FFFF;

// Ranges in order, not touching each other. Surrogates may be in a set; UTF-8 text has none.
class CodePointSet {
 public:
  CodePointSet() = default;
  // The ranges may overlap and come in any order.
  explicit CodePointSet(std::vector<CodePointRange> ranges);

  const std::vector<CodePointRange>& ranges() const { return ranges_; }
  bool contains(char32_t code_point) const;
  // Whether every code point from range.first to range.last is in the set.
  bool contains(CodePointRange range) const;
  CodePointSet complement() const;
  CodePointSet united(const CodePointSet& other) const;
  CodePointSet intersected(const CodePointSet& other) const;

 private:
  std::vector<CodePointRange> ranges_;
};

}  // namespace latent8
