#include "base/checksum.h"

#include <gtest/gtest.h>

#include <string_view>

namespace latent8 {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// Source: the empty input of XXH3_64bits in xxHash's own sanity tests.
TEST(ChecksumTest, IsXxh3) { EXPECT_EQ(checksum({}), 0x2d06800538d394c2U); }

TEST(ChecksumTest, DoesNotDependOnHowBytesAreCut) {
  const std::string_view text =
      "the same bytes, however they come; and enough of them for several lanes of it";
  Checksum whole, parts;
  whole.add(bytes(text));
  for (std::size_t i = 0; i < text.size(); i += 5) parts.add(bytes(text.substr(i, 5)));
  EXPECT_EQ(whole.value(), parts.value());
  EXPECT_EQ(whole.value(), checksum(bytes(text)));
}

TEST(ChecksumTest, DependsOnTheSeedAndOnEveryByte) {
  EXPECT_NE(checksum(bytes("abc"), 1), checksum(bytes("abc"), 2));
  EXPECT_NE(checksum(bytes("abc")), checksum(bytes("abb")));
}

}  // namespace
}  // namespace latent8
