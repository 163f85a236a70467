#pragma once
// Regular expressions of tokenizer.json, matched by PCRE2 with the meaning that Oniguruma gives them.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace latent8 {

struct TextRange {
  std::size_t begin;
  std::size_t end;
};

// Thread-safety: immutable after construction; each thread matches with a Matcher of its own.
class SplitRegex {
 public:
  // pattern is in Oniguruma's syntax, which tokenizer.json uses. Escapes and classes that the two engines
  // read differently are translated (\s, \w, \h) or refused by name. Throws: Error{kUnsupported | kCorrupt}
  // naming `where` and the place in the pattern.
  SplitRegex(std::string_view pattern, std::string_view where);
  // pattern is PCRE2's. REQUIRES: it compiles.
  static SplitRegex from_pcre(const std::string& pattern);

  // JIT stack and match block of one thread.
  class Matcher {
   public:
    Matcher();
    ~Matcher();
    Matcher(const Matcher&) = delete;
    Matcher& operator=(const Matcher&) = delete;

   private:
    friend class SplitRegex;
    struct State;
    std::unique_ptr<State> state_;
  };

  // Calls match(range) for each match in text, from left to right; a match may be empty, but not where the
  // one before ends. Look-around sees text only.
  // REQUIRES: text is UTF-8.
  // Throws: Error{kInvalidArgument} if a match needs more work or memory than the limits allow.
  void for_each_match(std::string_view text, Matcher& matcher,
                      const std::function<void(TextRange)>& match) const;

 private:
  struct Code;
  explicit SplitRegex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;  // shared: a tokenizer is copied, its compiled patterns need not be
};

}  // namespace latent8
