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

}  // namespace
}  // namespace latent8
