#pragma once
// Bracket expressions and escapes of Oniguruma's syntax.

#include <optional>

#include "text/char_class.h"
#include "text/onig_scanner.h"

namespace latent8 {

// Ownership: refers to the scanner. Every method throws Error{kUnsupported | kCorrupt} naming the construct.
class OnigClassReader {
 public:
  explicit OnigClassReader(OnigScanner& scanner) : in_(scanner) {}

  // `[...]` with nested classes, ranges, `&&`, POSIX brackets and escapes. REQUIRES: '[' stands here.
  CharClass bracket();
  // \d \s \w \h \p{..} and their complements; nullopt, without moving, if none stands here.
  std::optional<CharClass> class_escape();
  // An escape that stands for one character. REQUIRES: '\' stands here.
  char32_t character_escape();

 private:
  std::optional<CharClass> posix();
  CharClass property();
  char32_t member();
  char32_t hex(std::size_t least, std::size_t most);
  void range_or_character(CharClass& members);

  OnigScanner& in_;
  CharClassAlgebra algebra_;
  int depth_ = 0;
};

}  // namespace latent8
