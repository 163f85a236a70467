#include "sys/interleaved_memory.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "support/errors.h"

namespace latent8 {
namespace {

TEST(InterleavedMemory, IsWritableZeroAndStartsOnAHugePage) {
  constexpr std::int64_t kBytes = (std::int64_t{4} << 20) + 100;
  const InterleavedMemory memory(kBytes, "a test");

  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % (2U << 20), 0U);
  EXPECT_GE(memory.nodes(), 1);
  EXPECT_EQ(memory.data()[kBytes - 1], std::byte{0});
  memory.data()[kBytes - 1] = std::byte{1};
}

TEST(InterleavedMemory, MoreThanTheMachineHasIsAnErrorThatSaysWhatFor) {
  EXPECT_THAT(
      error_of(ErrorCode::kUnavailable,
               [] { const InterleavedMemory memory(std::int64_t{1} << 60, "a copy of the weights"); }),
      testing::HasSubstr("a copy of the weights: 1073741824.00 GiB of memory expected, but"));
}

}  // namespace
}  // namespace latent8
