// Case and classes of characters.

#include <algorithm>
#include <array>
#include <iterator>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

struct Capital {
  char32_t letter;
  char32_t capitals[3];  // zeros at the end
};

// The letters whose capital is several letters, in order. Source: Unicode, SpecialCasing.txt.
// clang-format off
constexpr Capital kCapitals[] = {
    {0xDF, {0x53, 0x53}}, {0x149, {0x2BC, 0x4E}}, {0x1F0, {0x4A, 0x30C}}, {0x390, {0x399, 0x308, 0x301}},
    {0x3B0, {0x3A5, 0x308, 0x301}}, {0x587, {0x535, 0x552}}, {0x1E96, {0x48, 0x331}},
    {0x1E97, {0x54, 0x308}}, {0x1E98, {0x57, 0x30A}}, {0x1E99, {0x59, 0x30A}}, {0x1E9A, {0x41, 0x2BE}},
    {0x1F50, {0x3A5, 0x313}}, {0x1F52, {0x3A5, 0x313, 0x300}}, {0x1F54, {0x3A5, 0x313, 0x301}},
    {0x1F56, {0x3A5, 0x313, 0x342}}, {0x1F80, {0x1F08, 0x399}}, {0x1F81, {0x1F09, 0x399}},
    {0x1F82, {0x1F0A, 0x399}}, {0x1F83, {0x1F0B, 0x399}}, {0x1F84, {0x1F0C, 0x399}},
    {0x1F85, {0x1F0D, 0x399}}, {0x1F86, {0x1F0E, 0x399}}, {0x1F87, {0x1F0F, 0x399}},
    {0x1F88, {0x1F08, 0x399}}, {0x1F89, {0x1F09, 0x399}}, {0x1F8A, {0x1F0A, 0x399}},
    {0x1F8B, {0x1F0B, 0x399}}, {0x1F8C, {0x1F0C, 0x399}}, {0x1F8D, {0x1F0D, 0x399}},
    {0x1F8E, {0x1F0E, 0x399}}, {0x1F8F, {0x1F0F, 0x399}}, {0x1F90, {0x1F28, 0x399}},
    {0x1F91, {0x1F29, 0x399}}, {0x1F92, {0x1F2A, 0x399}}, {0x1F93, {0x1F2B, 0x399}},
    {0x1F94, {0x1F2C, 0x399}}, {0x1F95, {0x1F2D, 0x399}}, {0x1F96, {0x1F2E, 0x399}},
    {0x1F97, {0x1F2F, 0x399}}, {0x1F98, {0x1F28, 0x399}}, {0x1F99, {0x1F29, 0x399}},
    {0x1F9A, {0x1F2A, 0x399}}, {0x1F9B, {0x1F2B, 0x399}}, {0x1F9C, {0x1F2C, 0x399}},
    {0x1F9D, {0x1F2D, 0x399}}, {0x1F9E, {0x1F2E, 0x399}}, {0x1F9F, {0x1F2F, 0x399}},
    {0x1FA0, {0x1F68, 0x399}}, {0x1FA1, {0x1F69, 0x399}}, {0x1FA2, {0x1F6A, 0x399}},
    {0x1FA3, {0x1F6B, 0x399}}, {0x1FA4, {0x1F6C, 0x399}}, {0x1FA5, {0x1F6D, 0x399}},
    {0x1FA6, {0x1F6E, 0x399}}, {0x1FA7, {0x1F6F, 0x399}}, {0x1FA8, {0x1F68, 0x399}},
    {0x1FA9, {0x1F69, 0x399}}, {0x1FAA, {0x1F6A, 0x399}}, {0x1FAB, {0x1F6B, 0x399}},
    {0x1FAC, {0x1F6C, 0x399}}, {0x1FAD, {0x1F6D, 0x399}}, {0x1FAE, {0x1F6E, 0x399}},
    {0x1FAF, {0x1F6F, 0x399}}, {0x1FB2, {0x1FBA, 0x399}}, {0x1FB3, {0x391, 0x399}},
    {0x1FB4, {0x386, 0x399}}, {0x1FB6, {0x391, 0x342}}, {0x1FB7, {0x391, 0x342, 0x399}},
    {0x1FBC, {0x391, 0x399}}, {0x1FC2, {0x1FCA, 0x399}}, {0x1FC3, {0x397, 0x399}}, {0x1FC4, {0x389, 0x399}},
    {0x1FC6, {0x397, 0x342}}, {0x1FC7, {0x397, 0x342, 0x399}}, {0x1FCC, {0x397, 0x399}},
    {0x1FD2, {0x399, 0x308, 0x300}}, {0x1FD3, {0x399, 0x308, 0x301}}, {0x1FD6, {0x399, 0x342}},
    {0x1FD7, {0x399, 0x308, 0x342}}, {0x1FE2, {0x3A5, 0x308, 0x300}}, {0x1FE3, {0x3A5, 0x308, 0x301}},
    {0x1FE4, {0x3A1, 0x313}}, {0x1FE6, {0x3A5, 0x342}}, {0x1FE7, {0x3A5, 0x308, 0x342}},
    {0x1FF2, {0x1FFA, 0x399}}, {0x1FF3, {0x3A9, 0x399}}, {0x1FF4, {0x38F, 0x399}}, {0x1FF6, {0x3A9, 0x342}},
    {0x1FF7, {0x3A9, 0x342, 0x399}}, {0x1FFC, {0x3A9, 0x399}}, {0xFB00, {0x46, 0x46}},
    {0xFB01, {0x46, 0x49}}, {0xFB02, {0x46, 0x4C}}, {0xFB03, {0x46, 0x46, 0x49}},
    {0xFB04, {0x46, 0x46, 0x4C}}, {0xFB05, {0x53, 0x54}}, {0xFB06, {0x53, 0x54}}, {0xFB13, {0x544, 0x546}},
    {0xFB14, {0x544, 0x535}}, {0xFB15, {0x544, 0x53B}}, {0xFB16, {0x54E, 0x546}}, {0xFB17, {0x544, 0x53D}},
};
// clang-format on

// PCRE2 owns the Unicode tables that we have.
const pcre2_code* compile(const char* pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  const pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  LATENT8_CHECK(code != nullptr);
  return code;
}

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

pcre2_match_data* match_data() {
  thread_local const std::unique_ptr<pcre2_match_data, FreeMatchData> data(
      pcre2_match_data_create(1, nullptr));
  return data.get();
}

bool is_ascii_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Scripts of many characters and no case, for speed.
bool has_no_case(char32_t c) {
  return (c >= 0x3000 && c < 0xA640) || (c >= 0xAC00 && c < 0xFB00) || c >= 0x20000;
}

// Simple case mapping: one character for one.
char32_t simple_case(char32_t c, bool upper) {
  if (c < 0x80) return !is_ascii_letter(c) ? c : (upper ? c & ~0x20u : c | 0x20u);
  if (has_no_case(c)) return c;
  static const pcre2_code* const any = compile("(?s).");
  step(4);
  std::string text;
  append_utf8(text, c);
  PCRE2_UCHAR changed[16];
  PCRE2_SIZE length = sizeof changed;
  const int rc = pcre2_substitute(any, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                                  PCRE2_SUBSTITUTE_EXTENDED, match_data(), nullptr,
                                  reinterpret_cast<PCRE2_SPTR>(upper ? "\\U$0" : "\\L$0"),
                                  PCRE2_ZERO_TERMINATED, changed, &length);
  LATENT8_CHECK(rc == 1);
  return utf8_front(std::string_view(reinterpret_cast<const char*>(changed), length)).code_point;
}

const Capital* special_capital(char32_t c) {
  if (c < 0xDF) return nullptr;
  const auto* found =
      std::lower_bound(std::begin(kCapitals), std::end(kCapitals), c,
                       [](const Capital& row, char32_t letter) { return row.letter < letter; });
  return found != std::end(kCapitals) && found->letter == c ? found : nullptr;
}

void append_upper(String& out, char32_t c) {
  if (const Capital* special = special_capital(c)) {
    for (const char32_t capital : special->capitals)
      if (capital != 0) append_character(out, capital);
    return;
  }
  append_character(out, simple_case(c, true));
}

void append_lower(String& out, char32_t c) {
  append_character(out, simple_case(c, false));
  if (c == 0x130) out.replace(out.size() - 1, 1, "i\xCC\x87");  // the dotted capital I
}

// The first letter of a word: of several capitals only the first stays one.
void append_title(String& out, char32_t c) {
  const Capital* special = special_capital(c);
  if (special == nullptr) return append_character(out, simple_case(c, true));
  append_character(out, special->capitals[0]);
  for (int i = 1; i < 3 && special->capitals[i] != 0; ++i) append_lower(out, special->capitals[i]);
}

// Calls each(character, bytes before it) for all characters of text.
template <class Each>
void for_each_character(std::string_view text, Each each) {
  step(text.size() / 8);
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step front = utf8_front(text.substr(at));
    each(front.code_point, at);
    at += front.length;
  }
}

constexpr char32_t kSigma = 0x3A3;

// Whether a capital sigma at byte `at` ends a word.
bool is_final_sigma(std::string_view text, std::size_t at) {
  if (at == 0) return false;
  std::size_t before = at - 1;
  while (before > 0 && (static_cast<unsigned char>(text[before]) & 0xC0) == 0x80) --before;
  const std::string_view after = text.substr(at + 2);
  return is_in(CharacterClass::kCased, utf8_front(text.substr(before)).code_point) &&
         (after.empty() || !is_in(CharacterClass::kCased, utf8_front(after).code_point));
}

// Starts a word at each character that follows one for which boundary is true.
template <class Boundary>
String title_by(std::string_view text, Boundary boundary) {
  String out;
  bool start = true;
  for_each_character(text, [&](char32_t c, std::size_t) {
    if (start) {
      append_title(out, c);
    } else {
      append_lower(out, c);
    }
    start = boundary(c);
  });
  return out;
}

}  // namespace

String to_upper(std::string_view text) {
  String out;
  out.reserve(text.size());
  for_each_character(text, [&](char32_t c, std::size_t) { append_upper(out, c); });
  return out;
}

String to_lower(std::string_view text) {
  String out;
  out.reserve(text.size());
  for_each_character(text, [&](char32_t c, std::size_t at) {
    if (c == kSigma && is_final_sigma(text, at)) return append_character(out, 0x3C2);
    append_lower(out, c);
  });
  return out;
}

String swap_case(std::string_view text) {
  String out;
  for_each_character(text, [&](char32_t c, std::size_t) {
    if (is_in(CharacterClass::kUpper, c)) return append_lower(out, c);
    append_upper(out, c);
  });
  return out;
}

String capitalize(std::string_view text) {
  String out;
  if (text.empty()) return out;
  const Utf8Step first = utf8_front(text);
  append_title(out, first.code_point);
  append(out, to_lower(text.substr(first.length)));
  return out;
}

String title(std::string_view text) {
  return title_by(text, [](char32_t c) { return !is_in(CharacterClass::kCased, c); });
}

String title_filter(std::string_view text) {
  return title_by(text, [](char32_t c) {
    return is_python_space(c) ||
           (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) != std::string_view::npos);
  });
}

bool is_in(CharacterClass kind, char32_t c) {
  if (c < 0x80) {
    const bool digit = c >= '0' && c <= '9';
    constexpr char32_t kDelete = 0x7F;
    switch (kind) {
      case CharacterClass::kPrintable:
        return c >= 0x20 && c != kDelete;
      case CharacterClass::kAlphabetic:
      case CharacterClass::kCased:
        return is_ascii_letter(c);
      case CharacterClass::kDecimal:
      case CharacterClass::kDigit:
      case CharacterClass::kNumeric:
        return digit;
      case CharacterClass::kUpper:
        return c >= 'A' && c <= 'Z';
      case CharacterClass::kLower:
        return c >= 'a' && c <= 'z';
    }
  }
  static const std::array<const pcre2_code*, 8> codes = {
      compile("[^\\p{C}\\p{Z}]"), compile("\\p{L}"), compile("\\p{Nd}"),
      // The characters of Numeric_Type=Digit beside the decimal ones.
      compile("[\\p{Nd}\\x{B2}\\x{B3}\\x{B9}\\x{1369}-\\x{1371}\\x{19DA}\\x{2070}\\x{2074}-\\x{2079}\\x{2080}"
              "-\\x{2089}"
              "\\x{2460}-\\x{2468}\\x{2474}-\\x{247C}\\x{2488}-\\x{2490}\\x{24EA}\\x{24F5}-\\x{24FD}\\x{24FF}"
              "\\x{2776}-\\x{277E}\\x{2780}-\\x{2788}\\x{278A}-\\x{2792}]"),
      compile("\\p{N}"),
      compile("[\\p{Lu}\\p{Ll}\\p{Lt}\\x{AA}\\x{BA}\\x{2160}-\\x{217F}\\x{24B6}-\\x{24E9}]"),
      compile("[\\p{Lu}\\x{2160}-\\x{216F}\\x{24B6}-\\x{24CF}]"),
      compile("[\\p{Ll}\\x{AA}\\x{BA}\\x{2170}-\\x{217F}\\x{24D0}-\\x{24E9}]")};
  step();
  std::string text;
  append_utf8(text, c);
  return pcre2_match(codes[static_cast<std::size_t>(kind)], reinterpret_cast<PCRE2_SPTR>(text.data()),
                     text.size(), 0, 0, match_data(), nullptr) >= 0;
}

}  // namespace latent8::jinja
