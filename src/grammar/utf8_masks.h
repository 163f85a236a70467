#pragma once
// Which tokens keep a text UTF-8. A grammar is written in characters, but XGrammar reads bytes of no
// character (surrogates, overlong forms) as if they were one.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace latent8 {

// Where in UTF-8 a text has got to.
enum class Utf8State : std::uint8_t {
  kStart,  // between characters
  kOneLeft,
  kTwoLeft,
  kThreeLeft,
  kAfterE0,  // lead bytes that not every byte may follow
  kAfterED,
  kAfterF0,
  kAfterF4,
  kInvalid,
};

Utf8State utf8_next(Utf8State state, std::string_view bytes);

class Utf8Masks {
 public:
  Utf8Masks(const std::vector<std::string>& tokens, std::size_t words);

  // Bits of the tokens that may follow, as in MaskProvider::restrict. REQUIRES: not kInvalid.
  const std::vector<std::uint64_t>& allowed(Utf8State state) const {
    return allowed_[static_cast<std::size_t>(state)];
  }

 private:
  std::vector<std::vector<std::uint64_t>> allowed_;  // by state
};

}  // namespace latent8
