#include "text/unicode_property.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/unicode_supplement.h"

namespace latent8 {
namespace {

using NamePair = std::pair<std::string_view, std::string_view>;

// PCRE2's \s with UCP also matches U+180E; White_Space, which Oniguruma uses, has not since Unicode 6.3.
constexpr std::string_view kSpaceRanges =
    "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"
    "3000}";

// Found by comparison: Oniguruma's \w has the superscripts and fractions of Latin-1, [:word:] has not.
constexpr std::string_view kLatinNumbers = "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";

// General categories without Cn and Cs, which no text has.
constexpr std::array<std::string_view, 28> kCategories = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
    "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"};

// Source: Unicode's PropertyValueAliases.txt.
constexpr std::array<NamePair, 36> kLongNames = {{
    {"letter", "l"},
    {"uppercaseletter", "lu"},
    {"lowercaseletter", "ll"},
    {"titlecaseletter", "lt"},
    {"modifierletter", "lm"},
    {"otherletter", "lo"},
    {"mark", "m"},
    {"combiningmark", "m"},
    {"nonspacingmark", "mn"},
    {"spacingmark", "mc"},
    {"enclosingmark", "me"},
    {"number", "n"},
    {"decimalnumber", "nd"},
    {"letternumber", "nl"},
    {"othernumber", "no"},
    {"punctuation", "p"},
    {"connectorpunctuation", "pc"},
    {"dashpunctuation", "pd"},
    {"openpunctuation", "ps"},
    {"closepunctuation", "pe"},
    {"initialpunctuation", "pi"},
    {"finalpunctuation", "pf"},
    {"otherpunctuation", "po"},
    {"symbol", "s"},
    {"mathsymbol", "sm"},
    {"currencysymbol", "sc"},
    {"modifiersymbol", "sk"},
    {"othersymbol", "so"},
    {"separator", "z"},
    {"spaceseparator", "zs"},
    {"lineseparator", "zl"},
    {"paragraphseparator", "zp"},
    {"control", "cc"},
    {"format", "cf"},
    {"privateuse", "co"},
    {"unassigned", "cn"},
}};

// Source: Unicode's Scripts.txt; scripts that text of language models is written in.
constexpr std::array<std::string_view, 41> kScripts = {
    "Han",      "Hiragana", "Katakana",  "Hangul",    "Latin",    "Greek",    "Cyrillic",
    "Arabic",   "Hebrew",   "Thai",      "Lao",       "Khmer",    "Myanmar",  "Devanagari",
    "Bengali",  "Tamil",    "Telugu",    "Kannada",   "Gujarati", "Gurmukhi", "Malayalam",
    "Sinhala",  "Oriya",    "Georgian",  "Armenian",  "Ethiopic", "Tibetan",  "Mongolian",
    "Bopomofo", "Common",   "Inherited", "Braille",   "Cherokee", "Yi",       "Syriac",
    "Thaana",   "Javanese", "Tagalog",   "Sundanese", "Tifinagh", "Adlam"};

// Lower case, without spaces, '-' and '_'.
std::string plain_name(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return plain;
}

// The members of general categories: of one (Lu), or of all that begin with a letter (L).
std::string categories(std::string_view list) {
  std::string members;
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(' ', at), list.size());
    const std::string_view name = list.substr(at, end - at);
    members += "\\p{" + std::string(name) + "}";
    for (const std::string_view category : kCategories)
      if (category.starts_with(name)) members += unicode_supplement(category);
    at = end + 1;
  }
  return members;
}

std::string binary(std::string_view name, std::string_view supplement) {
  return "\\p{" + std::string(name) + "}" + std::string(unicode_supplement(supplement));
}

std::string alphabetic() { return binary("Alphabetic", "Alphabetic"); }
std::string word() { return alphabetic() + categories("M Nd Pc"); }
std::string graph() { return categories("L M N P S Cf Co"); }

std::optional<CharClass> category_class(std::string_view plain) {
  for (const auto& [name, alias] : kLongNames)
    if (name == plain) plain = alias;
  // What Unicode has not assigned shrinks with each version, so it is said by what it is not.
  if (plain == "cn") return CharClass{categories("L M N P S Z Cc Cf Co"), true};
  if (plain == "c" || plain == "other") return CharClass{categories("L M N P S Z"), true};
  if (plain == "cs") return CharClass{"\\x{0}-\\x{10ffff}", true};
  if (plain.size() == 1 && std::string_view("lmnpsz").find(plain[0]) != std::string_view::npos)
    return CharClass{categories(std::string(1, static_cast<char>(plain[0] - 'a' + 'A'))), false};
  for (const std::string_view category : kCategories)
    if (plain_name(category) == plain) return CharClass{categories(category), false};
  return std::nullopt;
}

// The names that POSIX brackets and properties share.
std::optional<CharClass> shared_class(std::string_view plain) {
  if (plain == "alpha") return CharClass{alphabetic(), false};
  if (plain == "alnum") return CharClass{alphabetic() + categories("Nd"), false};
  if (plain == "upper") return CharClass{binary("Uppercase", "Lu"), false};
  if (plain == "lower") return CharClass{binary("Lowercase", "Lowercase"), false};
  if (plain == "digit") return digit_class();
  if (plain == "space") return space_class();
  if (plain == "blank") return CharClass{"\\p{Zs}\\x{09}", false};
  if (plain == "cntrl") return CharClass{"\\p{Cc}", false};
  if (plain == "graph") return CharClass{graph(), false};
  if (plain == "print") return CharClass{graph() + "\\p{Zs}", false};
  if (plain == "xdigit") return hex_digit_class();
  if (plain == "ascii") return CharClass{"\\x{0}-\\x{7f}", false};
  return std::nullopt;
}

std::optional<CharClass> binary_class(std::string_view plain) {
  if (plain == "any") return CharClass{"\\x{0}-\\x{10ffff}", false};
  if (plain == "assigned") return CharClass{categories("L M N P S Z Cc Cf Co"), false};
  if (plain == "alphabetic") return CharClass{alphabetic(), false};
  if (plain == "uppercase") return CharClass{binary("Uppercase", "Lu"), false};
  if (plain == "lowercase") return CharClass{binary("Lowercase", "Lowercase"), false};
  if (plain == "whitespace") return space_class();
  if (plain == "word") return word_class();
  if (plain == "punct") return CharClass{categories("P"), false};
  if (plain == "emoji") return CharClass{binary("Emoji", "Emoji"), false};
  if (plain == "ideographic") return CharClass{binary("Ideographic", "Ideographic"), false};
  if (plain == "extendedpictographic") return CharClass{"\\p{Extended_Pictographic}", false};
  return std::nullopt;
}

}  // namespace

CharClass space_class() { return {std::string(kSpaceRanges), false}; }
CharClass word_class() { return {word() + std::string(kLatinNumbers), false}; }
CharClass digit_class() { return {categories("Nd"), false}; }
CharClass hex_digit_class() { return {"0-9A-Fa-f", false}; }

std::optional<CharClass> unicode_property(std::string_view name) {
  const std::string plain = plain_name(name);
  if (auto found = category_class(plain)) return found;
  if (auto found = binary_class(plain)) return found;
  if (auto found = shared_class(plain)) return found;
  // `sc:`: PCRE2 takes the bare name for Script_Extensions.
  for (const std::string_view script : kScripts)
    if (plain_name(script) == plain) return CharClass{binary("sc:" + std::string(script), script), false};
  return std::nullopt;
}

std::optional<CharClass> posix_bracket(std::string_view name) {
  if (name == "punct") return CharClass{categories("P S"), false};
  if (name == "word") return CharClass{word(), false};
  return shared_class(name);
}

}  // namespace latent8
