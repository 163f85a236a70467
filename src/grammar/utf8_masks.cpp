#include "grammar/utf8_masks.h"

namespace latent8 {
namespace {

constexpr auto kStates = static_cast<std::size_t>(Utf8State::kInvalid);

Utf8State after_lead(unsigned char byte) {
  if (byte < 0x80) return Utf8State::kStart;
  if (byte < 0xC2) return Utf8State::kInvalid;
  if (byte < 0xE0) return Utf8State::kOneLeft;
  if (byte == 0xE0) return Utf8State::kAfterE0;
  if (byte == 0xED) return Utf8State::kAfterED;
  if (byte < 0xF0) return Utf8State::kTwoLeft;
  if (byte == 0xF0) return Utf8State::kAfterF0;
  if (byte < 0xF4) return Utf8State::kThreeLeft;
  return byte == 0xF4 ? Utf8State::kAfterF4 : Utf8State::kInvalid;
}

Utf8State after(Utf8State state, unsigned char byte) {
  const auto if_within = [byte](unsigned low, unsigned high, Utf8State next) {
    return byte >= low && byte <= high ? next : Utf8State::kInvalid;
  };
  switch (state) {
    case Utf8State::kStart:
      return after_lead(byte);
    case Utf8State::kOneLeft:
      return if_within(0x80, 0xBF, Utf8State::kStart);
    case Utf8State::kTwoLeft:
      return if_within(0x80, 0xBF, Utf8State::kOneLeft);
    case Utf8State::kThreeLeft:
      return if_within(0x80, 0xBF, Utf8State::kTwoLeft);
    case Utf8State::kAfterE0:
      return if_within(0xA0, 0xBF, Utf8State::kOneLeft);
    case Utf8State::kAfterED:
      return if_within(0x80, 0x9F, Utf8State::kOneLeft);
    case Utf8State::kAfterF0:
      return if_within(0x90, 0xBF, Utf8State::kTwoLeft);
    case Utf8State::kAfterF4:
      return if_within(0x80, 0x8F, Utf8State::kTwoLeft);
    case Utf8State::kInvalid:
      break;
  }
  return Utf8State::kInvalid;
}

}  // namespace

Utf8State utf8_next(Utf8State state, std::string_view bytes) {
  for (const char c : bytes) state = after(state, static_cast<unsigned char>(c));
  return state;
}

Utf8Masks::Utf8Masks(const std::vector<std::string>& tokens, std::size_t words)
    : allowed_(kStates, std::vector<std::uint64_t>(words)) {
  for (std::size_t state = 0; state < kStates; ++state)
    for (std::size_t id = 0; id < tokens.size(); ++id)
      if (utf8_next(static_cast<Utf8State>(state), tokens[id]) != Utf8State::kInvalid)
        allowed_[state][id / 64] |= std::uint64_t{1} << (id % 64);
}

}  // namespace latent8
