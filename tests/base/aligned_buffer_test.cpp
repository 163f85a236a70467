#include "base/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

namespace latent8 {
namespace {

TEST(AlignedBuffer, IsZeroedAndAlignedForAnySize) {
  for (const std::int64_t size : {1, 63, 4096, (2 << 20) - 1, 2 << 20, (6 << 20) + 5}) {
    AlignedBuffer<std::uint8_t> buffer(size);

    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    EXPECT_TRUE(
        std::all_of(buffer.span().begin(), buffer.span().end(), [](std::uint8_t x) { return x == 0; }));
    std::fill(buffer.span().begin(), buffer.span().end(), std::uint8_t{1});  // all of it is writable
  }
}

TEST(AlignedBuffer, AnEmptyOneHasNoMemory) { EXPECT_EQ(AlignedBuffer<float>(0).data(), nullptr); }

}  // namespace
}  // namespace latent8
