#include <algorithm>
#include <charconv>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "text/unicode_canonical.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

// Hangul syllables are computed. Source: The Unicode Standard, section 3.12.
constexpr char32_t kS = 0xAC00, kL = 0x1100, kV = 0x1161, kT = 0x11A7;
constexpr char32_t kLCount = 19, kVCount = 21, kTCount = 28, kSCount = kLCount * kVCount * kTCount;
// Below it nothing combines, and in form C everything stands for itself.
constexpr char32_t kFirstMark = 0x300;

struct Tables {
  std::unordered_map<char32_t, std::u32string> parts;      // one step
  std::unordered_map<std::uint64_t, char32_t> composites;  // first << 32 | second
  std::unordered_map<char32_t, std::uint8_t> classes;      // of marks

  Tables() {
    each(canonical_composites(), [this](const std::vector<char32_t>& numbers) {
      parts.emplace(numbers[0], std::u32string(numbers.begin() + 1, numbers.end()));
      composites.emplace(std::uint64_t{numbers[1]} << 32 | numbers[2], numbers[0]);
    });
    each(canonical_singletons(), [this](const std::vector<char32_t>& numbers) {
      parts.emplace(numbers[0], std::u32string(numbers.begin() + 1, numbers.end()));
    });
    each(combining_classes(), [this](const std::vector<char32_t>& numbers) {
      for (char32_t c = numbers[0]; c <= numbers[1]; ++c)
        classes.emplace(c, static_cast<std::uint8_t>(numbers[2]));
    });
  }

  template <class Take>
  static void each(std::string_view data, const Take& take) {
    std::vector<char32_t> numbers;
    const char* end = data.data() + data.size();
    for (const char* at = data.data(); at != end; ++at) {
      std::uint32_t number = 0;
      at = std::from_chars(at, end, number, 16).ptr;
      numbers.push_back(number);
      if (*at != ';') continue;
      take(numbers);
      numbers.clear();
    }
  }

  std::uint8_t combining_class(char32_t c) const {
    const auto found = c < kFirstMark ? classes.end() : classes.find(c);
    return found == classes.end() ? 0 : found->second;
  }
};

const Tables& tables() {
  static const Tables all;
  return all;
}

void decompose(char32_t c, std::u32string& out) {
  if (c >= kS && c < kS + kSCount) {
    const char32_t index = c - kS;
    out += kL + index / (kVCount * kTCount);
    out += kV + index % (kVCount * kTCount) / kTCount;
    if (index % kTCount != 0) out += kT + index % kTCount;
    return;
  }
  const auto found = tables().parts.find(c);
  if (found == tables().parts.end()) {
    out += c;
    return;
  }
  for (const char32_t part : found->second) decompose(part, out);
}

// 0: the two do not compose.
char32_t compose(char32_t first, char32_t second) {
  if (first >= kL && first < kL + kLCount && second >= kV && second < kV + kVCount)
    return kS + ((first - kL) * kVCount + (second - kV)) * kTCount;
  if (first >= kS && first < kS + kSCount && (first - kS) % kTCount == 0 && second > kT &&
      second < kT + kTCount)
    return first + (second - kT);
  const auto found = tables().composites.find(std::uint64_t{first} << 32 | second);
  return found == tables().composites.end() ? 0 : found->second;
}

// Puts runs of marks into the order of their classes; of one class they stay as they are.
void order_marks(std::u32string& text) {
  struct Mark {
    std::uint8_t combining_class;
    std::size_t place;
    char32_t code_point;
  };
  std::vector<Mark> marks;
  for (std::size_t at = 0; at <= text.size(); ++at) {
    const std::uint8_t own = at < text.size() ? tables().combining_class(text[at]) : std::uint8_t{0};
    if (own != 0) {
      marks.push_back({own, at, text[at]});
      continue;
    }
    std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) {
      return a.combining_class != b.combining_class ? a.combining_class < b.combining_class
                                                    : a.place < b.place;
    });
    for (std::size_t i = 0; i < marks.size(); ++i) text[at - marks.size() + i] = marks[i].code_point;
    marks.clear();
  }
}

std::u32string decomposed(std::string_view text) {
  std::u32string out;
  for (const char32_t c : to_code_points(text)) decompose(c, out);
  order_marks(out);
  return out;
}

bool is_composed(std::string_view text) {
  // Lead bytes of U+0300 and above.
  return std::none_of(text.begin(), text.end(),
                      [](char byte) { return static_cast<unsigned char>(byte) >= 0xCC; });
}

}  // namespace

std::string to_nfd(std::string_view text) { return from_code_points(decomposed(text)); }

std::string to_nfc(std::string_view text) {
  if (is_composed(text)) return std::string(text);
  std::u32string out;
  std::size_t starter = std::u32string::npos;  // in out
  std::uint8_t last_class = 0;                 // of the last one that stayed after the starter
  for (const char32_t c : decomposed(text)) {
    const std::uint8_t own_class = tables().combining_class(c);
    const bool adjacent = starter != std::u32string::npos && starter + 1 == out.size();
    const bool blocked = !adjacent && (last_class >= own_class || own_class == 0);
    if (starter != std::u32string::npos && !blocked) {
      if (const char32_t composite = compose(out[starter], c); composite != 0) {
        out[starter] = composite;
        continue;
      }
    }
    if (own_class == 0) starter = out.size();
    last_class = own_class;
    out += c;
  }
  return from_code_points(out);
}

}  // namespace latent8
