#include "ops/copy.h"

#include <gtest/gtest.h>

#include <vector>

namespace latent8 {
namespace {

TEST(CopyAll, CopiesEveryByteWithAnyNumberOfThreads) {
  constexpr std::size_t kLarge = (std::size_t{9} << 20) + 5;
  std::vector<std::byte> large(kLarge), small(3);
  for (std::size_t i = 0; i < kLarge; ++i) large[i] = static_cast<std::byte>(i * 7 >> 3);
  for (std::size_t i = 0; i < small.size(); ++i) small[i] = static_cast<std::byte>(i + 1);
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::vector<std::byte> to_large(kLarge), to_small(3);

    copy_all(pool, std::vector<Copy>{{to_large.data(), large}, {nullptr, {}}, {to_small.data(), small}});

    EXPECT_EQ(to_large, large);
    EXPECT_EQ(to_small, small);
  }
}

}  // namespace
}  // namespace latent8
