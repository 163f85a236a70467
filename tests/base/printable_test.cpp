#include "base/printable.h"

#include <gtest/gtest.h>

namespace latent8 {
namespace {

TEST(Printable, KeepsTextOfAnyScript) {
  EXPECT_EQ(printable("a \xC3\xA4 \xE6\xB7\xB1 \xF0\x9F\x98\x80 'x'"),
            "a \xC3\xA4 \xE6\xB7\xB1 \xF0\x9F\x98\x80 'x'");
}

TEST(Printable, EscapesWhatATerminalObeys) {
  EXPECT_EQ(printable("\x1B]0;x\x07\n\t\r\x7F"), "\\x1b]0;x\\x07\\n\\t\\x0d\\x7f");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\x9b31m");  // the one-character form of ESC [
  EXPECT_EQ(printable("a\xE2\x80\xAE"
                      "b"),
            "a\\u202eb");  // turns the direction
}

TEST(Printable, EscapesBytesThatAreNoUtf8) {
  EXPECT_EQ(printable("\xFF"
                      "a\xC3"),
            "\\xffa\\xc3");
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");
}

TEST(Printable, CutsTheMiddleOfALongText) {
  const std::string cut = printable(std::string(100'000, 'a') + "end", 90);

  EXPECT_LT(cut.size(), 120u);
  EXPECT_TRUE(cut.ends_with("end"));
  EXPECT_NE(cut.find("bytes"), std::string::npos);
}

TEST(Printable, CutsBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "\xE6\xB7\xB1";

  for (std::size_t most = 20; most < 40; ++most)
    EXPECT_EQ(printable(text, most).find("\\x"), std::string::npos) << most;
}

TEST(TerminalText, KeepsTextOfEveryScript) {
  const std::string text = "a\tb\nA\xcc\x88 \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80 \xd7\xa9";

  EXPECT_EQ(terminal_text(text), text);
}

TEST(TerminalText, ShowsWhatATerminalWouldActOn) {
  EXPECT_EQ(terminal_text("\x1b]0;pwned\x07\x1b[31m"), "\\x1b]0;pwned\\x07\\x1b[31m");
  EXPECT_EQ(terminal_text("\r\x7f\xc2\x9b"), "\\x0d\\x7f\\x9b");
  EXPECT_EQ(terminal_text("\xe2\x80\xae\xe2\x81\xa6"), "\\u202e\\u2066");
  EXPECT_EQ(terminal_text(std::string_view("\0", 1)), "\\x00");
}

TEST(TerminalText, ShowsBytesThatAreNotUtf8) {
  EXPECT_EQ(terminal_text("a\xff\xc3"), "a\\xff\\xc3");
  EXPECT_EQ(terminal_text("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(terminal_text("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");           // overlong
  EXPECT_EQ(terminal_text("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond Unicode
}

TEST(TerminalText, LongMessagesKeepBeginningAndEnd) {
  const std::string shown = shown_message("begins " + std::string(100000, 'x') + " and ends");

  EXPECT_LT(shown.size(), 1600U);
  EXPECT_EQ(shown.substr(0, 8), "begins x");
  EXPECT_EQ(shown.substr(shown.size() - 9), " and ends");
  EXPECT_EQ(shown_message("short"), "short");
}

TEST(TerminalText, CuttingSplitsNoCharacter) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\xe4\xb8\xad";

  for (std::size_t most = 64; most < 80; ++most) {
    const std::string cut = cut_middle(text, most);

    EXPECT_LE(cut.size(), most);
    EXPECT_EQ(terminal_text(cut), cut);
  }
}

}  // namespace
}  // namespace latent8
