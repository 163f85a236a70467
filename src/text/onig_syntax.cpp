// A recursive descent over the pattern that writes PCRE2's words as it goes.

#include "text/onig_syntax.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "formats/json.h"
#include "text/char_class.h"
#include "text/onig_class.h"
#include "text/onig_scanner.h"

namespace latent8 {
namespace {

constexpr int kMaxDepth = 200;      // PCRE2 nests 250 parentheses
constexpr long kMaxRepeat = 65535;  // PCRE2's largest count

struct Options {
  bool ignore_case = false;
  bool dot_all = false;   // Ruby's m
  bool extended = false;  // x
};

class Translator {
 public:
  explicit Translator(OnigScanner& scanner) : in_(scanner), classes_(scanner) {}

  std::string run() {
    alternatives({});
    if (!in_.done()) in_.corrupt("a ')' without its '('");
    return std::move(out_);
  }

 private:
  // Up to the end of the group or of the pattern. An option without a group of its own, (?i), holds to there.
  void alternatives(Options options) {
    if (++depth_ > kMaxDepth) in_.refuse("groups nested deeper than 200");
    int opened = 0;
    while (!in_.done() && in_.front() != ')') {
      if (in_.skip("|")) {
        out_ += '|';
        last_letter_ = 0;
      } else if (skip_space(options)) {
        continue;
      } else if (option_for_rest(options)) {
        ++opened;
      } else {
        repeated(options);
      }
    }
    out_.append(static_cast<std::size_t>(opened), ')');
    --depth_;
  }

  // White space and comments of the extended form, and (?#...).
  bool skip_space(const Options& options) {
    if (in_.skip("(?#")) {
      while (!in_.done() && in_.front() != ')') in_.next();
      if (!in_.skip(")")) in_.corrupt("a comment is never closed");
      return true;
    }
    if (!options.extended) return false;
    if (in_.skip("#")) {
      while (!in_.done() && in_.front() != '\n') in_.next();
      return true;
    }
    if (std::string_view(" \t\n\r\v\f").find(in_.front()) == std::string_view::npos) return false;
    in_.next();
    return true;
  }

  // `(?i)`: Oniguruma puts all that follows, alternatives too, into a group of its own.
  bool option_for_rest(Options& options) {
    const std::optional<Options> changed = read_options(options, ')');
    if (!changed) return false;
    options = *changed;
    out_ += options.ignore_case ? "(?i:" : "(?-i:";
    return true;
  }

  // `(?imx-imx` and the closing character; nullopt, without moving, if that does not stand here.
  std::optional<Options> read_options(Options options, char close) {
    std::string_view rest = in_.rest();
    if (!rest.starts_with("(?")) return std::nullopt;
    std::size_t at = 2;
    for (bool on = true; at < rest.size() && rest[at] != close; ++at) {
      if (rest[at] == '-' && on) {
        on = false;
      } else if (rest[at] == 'i') {
        options.ignore_case = on;
      } else if (rest[at] == 'm') {
        options.dot_all = on;
      } else if (rest[at] == 'x') {
        options.extended = on;
      } else {
        return std::nullopt;
      }
    }
    if (at >= rest.size() || at == 2) return std::nullopt;
    in_.skip(rest.substr(0, at + 1));
    return options;
  }

  // One atom and its quantifiers.
  void repeated(const Options& options) {
    const std::size_t begin = out_.size();
    atom(options);
    for (bool repeats = false;; repeats = true) {
      while (!in_.done() && skip_space(options)) {
      }
      const std::size_t end = out_.size();
      const std::optional<std::string> quantifier = read_quantifier();
      if (!quantifier) return;
      last_letter_ = 0;
      if (end == begin) in_.refuse("a repeat of nothing");
      if (repeats) {  // a repeat of a repeat
        out_.insert(begin, "(?:");
        out_ += ')';
      }
      out_ += *quantifier;
    }
  }

  std::optional<std::string> read_quantifier() {
    if (in_.done()) return std::nullopt;
    const char c = in_.front();
    std::string quantifier;
    if (c == '?' || c == '*' || c == '+') {
      quantifier = c;
      in_.next();
      if (in_.skip("?")) return quantifier + "?";
      if (in_.skip("+")) return quantifier + "+";
      return quantifier;
    }
    bool fixed = false;
    if (c != '{' || !read_interval(quantifier, fixed)) return std::nullopt;
    // In Ruby's syntax `{n}?` and `{n,m}+` are repeats of a repeat, only `{n,m}?` is one.
    if (!fixed && in_.skip("?")) quantifier += '?';
    return quantifier;
  }

  // {n}, {n,}, {n,m} and {,m}; anything else that begins with '{' is text.
  bool read_interval(std::string& quantifier, bool& fixed) {
    const std::string_view rest = in_.rest();
    std::size_t at = 1;
    const auto number = [&]() -> std::optional<long> {
      const std::size_t begin = at;
      long value = 0;
      for (; at < rest.size() && rest[at] >= '0' && rest[at] <= '9'; ++at)
        value = std::min(value * 10 + (rest[at] - '0'), kMaxRepeat + 1);
      return at == begin ? std::nullopt : std::optional(value);
    };
    const std::optional<long> low = number();
    fixed = at < rest.size() && rest[at] == '}';
    if (!fixed) {
      if (at >= rest.size() || rest[at] != ',') return false;
      ++at;
    }
    const std::optional<long> high = fixed ? low : number();
    if (at >= rest.size() || rest[at] != '}' || (!low && !high)) return false;
    if (low.value_or(0) > kMaxRepeat || high.value_or(0) > kMaxRepeat)
      in_.refuse("a repeat of more than 65535");
    if (low && high && *low > *high) in_.refuse("a repeat with its larger count first");
    quantifier = fmt::format("{{{}", low.value_or(0));
    if (!fixed) quantifier += high ? fmt::format(",{}", *high) : ",";
    quantifier += '}';
    in_.skip(rest.substr(0, at + 1));
    return true;
  }

  void atom(const Options& options) {
    const char c = in_.front();
    const char letter = std::exchange(last_letter_, 0);
    if (c == '(') return group(options);
    if (c == '[') {
      out_ += pcre_class(classes_.bracket());
    } else if (c == '.') {
      in_.next();
      out_ += options.dot_all ? "(?s:.)" : "[^\\x{a}]";
    } else if (c == '^' || c == '$') {  // of a line, as always in Ruby's syntax
      in_.next();
      out_ += fmt::format("(?m:{})", c);
    } else if (c == '\\') {
      escape(options, letter);
    } else if (c == '?' || c == '*' || c == '+') {
      in_.corrupt(fmt::format("'{}' has nothing to repeat", c));
    } else {
      literal(in_.next_code_point(), options, letter);
    }
  }

  void group(const Options& options) {
    for (const std::string_view plain : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (in_.skip(plain)) return group_body(plain, options);
    }
    if (const auto changed = read_options(options, ':'))
      return group_body(changed->ignore_case ? "(?i:" : "(?-i:", *changed);
    // Nothing asks what a group captured.
    if (in_.skip_named_group() || (!in_.rest().starts_with("(?") && in_.skip("(")))
      return group_body("(?:", options);
    in_.refuse(fmt::format("the group '{}'", in_.rest().substr(0, 4)));
  }

  void group_body(std::string_view open, const Options& options) {
    out_ += open;
    alternatives(options);
    if (!in_.skip(")")) in_.corrupt("a '(' is never closed");
    out_ += ')';
    last_letter_ = 0;
  }

  void escape(const Options& options, char letter) {
    if (const auto char_class = classes_.class_escape()) {
      out_ += pcre_class(*char_class);
      return;
    }
    const char c = in_.peek(1);
    if (const std::string_view words = assertion(c); !words.empty()) {
      in_.skip(in_.rest().substr(0, 2));
      out_ += words;
    } else if (c == 'b' || c == 'B') {
      in_.skip(in_.rest().substr(0, 2));
      const std::string word = pcre_class(word_class());
      out_ += c == 'b' ? fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word)
                       : fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word);
    } else {
      literal(classes_.character_escape(), options, letter);
    }
  }

  static std::string_view assertion(char c) {
    switch (c) {
      case 'A':
        return "\\A";
      case 'z':
        return "\\z";
      case 'Z':
        return "(?=\\x{a}?\\z)";
      case 'G':
        return "\\G";
      case 'R':
        return "(?>\\x{d}\\x{a}|[\\x{a}-\\x{d}\\x{85}\\x{2028}\\x{2029}])";
      case 'N':
        return "[^\\x{a}]";
      case 'O':
        return "(?s:.)";
      default:
        return {};
    }
  }

  // Without case, Oniguruma also takes the letters "ss" for U+00DF, "ff" for U+FB00 and so on; PCRE2 does
  // not.
  void literal(char32_t code_point, const Options& options, char before) {
    if (options.ignore_case) {
      const bool is_ligature =
          code_point == 0xDF || code_point == 0x1E9E || (code_point >= 0xFB00 && code_point <= 0xFB06);
      const char lower = static_cast<char>(code_point < 0x80 ? code_point | 0x20 : 0);
      const char pair[] = {before, lower, 0};
      for (const std::string_view letters : {"ss", "ff", "fi", "fl", "st"})
        if (is_ligature || letters == pair) in_.refuse(fmt::format("the letters '{}' without case", letters));
      last_letter_ = lower;
    }
    out_ += class_member(code_point);
  }

  OnigScanner& in_;
  OnigClassReader classes_;
  std::string out_;
  int depth_ = 0;
  char last_letter_ = 0;  // lower case, where the atom before was a letter; 0 else
};

}  // namespace

std::string pcre_from_onig(std::string_view pattern, std::string_view where) {
  OnigScanner scanner(pattern, where);
  return Translator(scanner).run();
}

std::string regex_of_pattern(const JsonFields& fields, const char* key, const std::string& where) {
  const nlohmann::json* pattern = fields.find(key);
  if (pattern == nullptr || !pattern->is_object() ||
      !(pattern->contains("Regex") || pattern->contains("String")))
    fields.refuse(key, "an object with 'Regex' or 'String'");
  const JsonFields either(*pattern, where + ": " + key);
  return either.has("Regex") ? either.text("Regex") : escape_regex(either.text("String"));
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
