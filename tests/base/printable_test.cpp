#include "base/printable.h"

#include <gtest/gtest.h>

namespace latent8 {
namespace {

TEST(Printable, KeepsTextOfEveryScript) {
  const std::string text = "a\tb\nA\xcc\x88 \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80 \xd7\xa9";

  EXPECT_EQ(printable(text), text);
}

TEST(Printable, ShowsWhatATerminalWouldActOn) {
  EXPECT_EQ(printable("\x1b]0;pwned\x07\x1b[31m"), "\\x1b]0;pwned\\x07\\x1b[31m");
  EXPECT_EQ(printable("\r\x7f\xc2\x9b"), "\\x0d\\x7f\\x9b");
  EXPECT_EQ(printable("\xe2\x80\xae\xe2\x81\xa6"), "\\u202e\\u2066");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Printable, ShowsBytesThatAreNotUtf8) {
  EXPECT_EQ(printable("a\xff\xc3"), "a\\xff\\xc3");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");           // overlong
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond Unicode
}

TEST(Printable, LongMessagesKeepBeginningAndEnd) {
  const std::string shown = shown_message("begins " + std::string(100000, 'x') + " and ends");

  EXPECT_LT(shown.size(), 1600U);
  EXPECT_EQ(shown.substr(0, 8), "begins x");
  EXPECT_EQ(shown.substr(shown.size() - 9), " and ends");
  EXPECT_EQ(shown_message("short"), "short");
}

TEST(Printable, CuttingSplitsNoCharacter) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\xe4\xb8\xad";

  for (std::size_t most = 64; most < 80; ++most) {
    const std::string cut = cut_middle(text, most);

    EXPECT_LE(cut.size(), most);
    EXPECT_EQ(printable(cut), cut);
  }
}

}  // namespace
}  // namespace latent8
