// What Oniguruma's syntax means in PCRE2's words; tests/e2e/tokenizer_splits_test.py compares with the
// library.

#include "text/onig_syntax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "latent8/error.h"
#include "text/split_regex.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  const SplitRegex regex(pattern, "test");
  SplitRegex::Matcher matcher;
  std::vector<std::string> found;
  regex.for_each_match(text, matcher, [&](TextRange range) {
    found.emplace_back(text.substr(range.begin, range.end - range.begin));
  });
  return found;
}

std::string refusal(std::string_view pattern, ErrorCode code) {
  try {
    const SplitRegex regex(pattern, "file.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(OnigSyntax, TheEndOfALineIsBeforeEachNewlineAndAtTheEnd) {
  EXPECT_THAT(matches("\\s+$", "a  \nb \n\n"), ElementsAre("  ", " \n\n"));
  EXPECT_THAT(matches("^.", "ab\ncd"), ElementsAre("a", "c"));
  EXPECT_THAT(matches("b\\Z", "b\nb\n"), ElementsAre("b"));
}

TEST(OnigSyntax, IntersectsClassesBeforeItNegatesThem) {
  EXPECT_THAT(matches("[a-z&&[^aeiou]]+", "unions"), ElementsAre("n", "ns"));
  EXPECT_THAT(matches("[^a-z&&b-d]+", "abcdex1"), ElementsAre("a", "ex1"));
  EXPECT_THAT(matches("[\\p{L}&&[^\\p{Han}]]+", "ab\xE4\xB8\xAD\xD0\xB6"), ElementsAre("ab", "\xD0\xB6"));
}

TEST(OnigSyntax, UnitesNestedClassesOfBothSigns) {
  EXPECT_THAT(matches("[a[^\\s\\d]]+", "a 1b!"), ElementsAre("a", "b!"));
  EXPECT_THAT(matches("[\\P{L}b]+", "ab1c"), ElementsAre("b1"));
}

TEST(OnigSyntax, HanIsTheScriptAndNotWhatIsUsedWithIt) {
  const std::string ideographic_comma = "\xE3\x80\x81";
  EXPECT_THAT(matches("\\p{Han}", ideographic_comma), IsEmpty());
}

TEST(OnigSyntax, TakesIntervalsAsRubyDoes) {
  EXPECT_THAT(matches("a{2}?", "aaaaa"), ElementsAre("aa", "aa", ""));  // at most once two, not lazy
  EXPECT_THAT(matches("a{,2}b", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(matches("a{x}", "a{x}"), ElementsAre("a{x}"));
}

TEST(OnigSyntax, AnOptionWithoutAGroupHoldsForTheAlternativesThatFollow) {
  EXPECT_THAT(matches("a(?i)b|c", "aB aC c"), ElementsAre("aB", "aC"));
}

TEST(OnigSyntax, MatchesOfNothingCountBetweenOthers) {
  EXPECT_THAT(matches("x*", "axb"), ElementsAre("", "x", ""));
}

TEST(OnigSyntax, RefusesByNameWhatIsNotSupported) {
  EXPECT_THAT(refusal("a\\1", ErrorCode::kUnsupported), HasSubstr("the escape '\\1' at offset 2"));
  EXPECT_THAT(refusal("\\p{InBasicLatin}", ErrorCode::kUnsupported), HasSubstr("'InBasicLatin'"));
  EXPECT_THAT(refusal("(?~ab)", ErrorCode::kUnsupported), HasSubstr("the group '(?~a'"));
  EXPECT_THAT(refusal("(?i:gross)", ErrorCode::kUnsupported), HasSubstr("the letters 'ss' without case"));
  EXPECT_THAT(refusal("\\K", ErrorCode::kUnsupported), HasSubstr("\\K"));
  EXPECT_THAT(refusal("(?<=a+)b", ErrorCode::kUnsupported), HasSubstr("lookbehind"));
  EXPECT_THAT(refusal("[a-\\d]", ErrorCode::kUnsupported), HasSubstr("a range that ends in a class"));
}

TEST(OnigSyntax, RefusesWhatIsUnfinished) {
  for (const char* pattern : {"[a", "(a", "a)", "\\", "\\p{L", "*a", "[b-a]", "\\u12", "(?#", "[a&&"})
    EXPECT_NE(refusal(pattern, ErrorCode::kCorrupt), "accepted") << pattern;
}

TEST(OnigSyntax, ShowsOnlyThePlaceOfALongPattern) {
  const std::string message = refusal(std::string(5000, 'a') + "\\K", ErrorCode::kUnsupported);

  EXPECT_LT(message.size(), 300u);
  EXPECT_THAT(message, HasSubstr("offset 5001"));
}

TEST(OnigSyntax, DeepNestingIsRefused) {
  EXPECT_NE(refusal(std::string(100000, '('), ErrorCode::kUnsupported), "accepted");
  EXPECT_NE(refusal(std::string(100000, '['), ErrorCode::kUnsupported), "accepted");
}

}  // namespace
}  // namespace latent8
