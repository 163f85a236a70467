#pragma once
// Unions, intersections and complements of character classes, which PCRE2 cannot write inside brackets.

#include <map>
#include <string>

#include "text/code_point_set.h"
#include "text/unicode_property.h"

namespace latent8 {

// Combines classes. Where PCRE2 has no words for the result, every code point is matched against the operands
// and the result is listed: exact, about 10 ms per operand, remembered by the object.
class CharClassAlgebra {
 public:
  CharClass unite(const CharClass& a, const CharClass& b);
  CharClass intersect(const CharClass& a, const CharClass& b);

  // The code points that a class matches; surrogates are never among them.
  const CodePointSet& code_points(const CharClass& char_class);

 private:
  CharClass listed(const CodePointSet& set);
  CodePointSet scan(const std::string& pattern);

  std::map<std::string, CodePointSet> known_;  // by pcre_class()
  std::string all_text_;                       // every code point, made when first needed
};

// The class as PCRE2 reads it outside brackets.
std::string pcre_class(const CharClass& char_class);
// One code point, or a range of them, as a member of a class.
std::string class_member(char32_t code_point);
std::string class_member(CodePointRange range);

}  // namespace latent8
