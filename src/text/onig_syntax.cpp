#include "text/onig_syntax.h"

#include "base/error.h"
#include "text/unicode_supplement.h"

namespace latent8 {
namespace {

// PCRE2's \s with UCP also matches U+180E; White_Space, which Oniguruma uses, has not since Unicode 6.3.
constexpr std::string_view kSpace =
    "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"
    "3000}";
// PCRE2 10.42's \w lacks marks and connector punctuation other than '_'.
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view where) : pattern_(pattern), where_(where) {}

  std::string run() {
    if (pattern_.find('\0') != std::string_view::npos) refuse("a zero byte");
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape();
      } else if (c == '[') {
        open_class();
      } else if (c == ']' && in_class_) {
        close_class();
      } else {
        if (in_class_) {
          check_class_character();
        } else {
          check_character();
        }
        out_ += c;
        ++at_;
      }
    }
    if (in_class_)
      throw_error(ErrorCode::kCorrupt, "{}: regex '{}': a '[' is never closed", where_, pattern_);
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw_error(ErrorCode::kUnsupported, "{}: regex '{}': {} at offset {} is not supported", where_, pattern_,
                what, at_);
  }

  bool follows(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  void open_class() {
    if (in_class_) refuse("a class inside a class");
    in_class_ = true;
    out_ += '[';
    ++at_;
    if (follows("^")) {
      out_ += '^';
      ++at_;
    }
    if (follows("]")) refuse("']' as the first member of a class");
  }

  void close_class() {
    in_class_ = false;
    out_ += ']';
    ++at_;
  }

  void check_class_character() const {
    if (follows("&&")) refuse("the class intersection '&&'");
  }

  void check_character() const {
    const char c = pattern_[at_];
    if (c == '^' || c == '$') refuse("a line anchor");
    if (!follows("(?")) return;
    for (const std::string_view group : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"}) {
      if (follows(group)) return;
    }
    refuse(fmt::format("the group '{}'", pattern_.substr(at_, 4)));
  }

  void set(std::string_view members, bool negated) {
    if (in_class_ && negated) refuse("a negated class inside a class");
    out_ += in_class_ ? "" : (negated ? "[^" : "[");
    out_ += members;
    out_ += in_class_ ? "" : "]";
  }

  void escape() {
    if (at_ + 1 == pattern_.size()) {
      throw_error(ErrorCode::kCorrupt, "{}: regex '{}' ends in a backslash", where_, pattern_);
    }
    const char c = pattern_[at_ + 1];
    constexpr std::string_view kSame = "dDnrtfae";
    if (c == 'p' || c == 'P') {
      property(c == 'P');
      return;
    }
    if (c == 's' || c == 'S') {
      set(kSpace, c == 'S');
    } else if (c == 'w' || c == 'W') {
      set(kWord, c == 'W');
    } else if (c == 'h' || c == 'H') {  // a hexadecimal digit, not PCRE2's horizontal space
      set("0-9A-Fa-f", c == 'H');
    } else if (c == 'v') {  // vertical tab, not PCRE2's vertical space
      out_ += "\\x{0b}";
    } else if (kSame.find(c) != std::string_view::npos || !is_letter_or_digit(c) || c == 'x') {
      out_ += '\\';
      out_ += c;
    } else if (c == 'u') {
      unicode_escape();
    } else {
      refuse(fmt::format("the escape '\\{}'", c));
    }
    at_ += 2;
  }

  // \p{..} and \P{..}. The supplement cannot be taken out of a negated property inside a class; there the
  // few characters that it lists keep the category that PCRE2 gives them.
  void property(bool negated) {
    const std::size_t close = pattern_.find('}', at_);
    if (close == std::string_view::npos || pattern_[at_ + 2] != '{') {
      throw_error(ErrorCode::kCorrupt, "{}: regex '{}': '{{name}}' expected after \\p at offset {}", where_,
                  pattern_, at_);
    }
    const std::string_view name = pattern_.substr(at_ + 3, close - at_ - 3);
    const std::string_view supplement = unicode_supplement(name);
    if (supplement.empty() || (in_class_ && negated)) {
      out_ += pattern_.substr(at_, close + 1 - at_);
    } else {
      set(fmt::format("\\p{{{}}}{}", name, supplement), negated);
    }
    at_ = close + 1;
  }

  // \uHHHH; leaves at_ so that the caller's step over two characters is right.
  void unicode_escape() {
    const std::string_view digits = pattern_.substr(at_ + 2, 4);
    if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
      throw_error(ErrorCode::kCorrupt,
                  "{}: regex '{}': four hexadecimal digits expected after \\u at offset {}", where_, pattern_,
                  at_);
    }
    out_ += fmt::format("\\x{{{}}}", digits);
    at_ += 4;
  }

  static bool is_letter_or_digit(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  }

  std::string_view pattern_;
  std::string_view where_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

std::string pcre_from_onig(std::string_view pattern, std::string_view where) {
  return Translator(pattern, where).run();
}

std::string escape_regex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}&-#").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace latent8
