#include "formats/plausible.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "support/errors.h"

namespace latent8 {
namespace {

TEST(Plausible, ValuesOutOfTheRangeAreNamedWithTheirPlace) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), -3e7F, 1e30F}) {
    const std::vector<float> values{1.0F, bad};

    EXPECT_THAT(
        error_of(ErrorCode::kCorrupt, [&] { check_range("a.norm.weight", values); }),
        testing::HasSubstr("tensor 'a.norm.weight': values from -1e+06 to 1e+06 expected, element 1 is"));
  }
  EXPECT_NO_THROW(check_range("a", std::vector<float>{-65504.0F, 0.0F, 400.0F}));
}

TEST(Plausible, NegativeScalesAreRefused) {
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [] { check_range("s", std::vector<float>{-1e-3F}, 0.0F); }),
              testing::HasSubstr("values from 0 to"));
}

TEST(Plausible, QuantBiasMayReachTheLimitOfInt32AndNotPassIt) {
  constexpr std::int32_t kLimit = std::numeric_limits<std::int32_t>::max();
  const std::vector<std::byte> weights{std::byte{2}, std::byte{0xff}, std::byte{0},
                                       std::byte{1}};  // 2 -1; 0 1
  const auto check = [&](std::int32_t first, std::int32_t second) {
    check_quant_bias("b", std::vector<std::int32_t>{first, second}, weights);
  };

  EXPECT_NO_THROW(check(kLimit - 3 * 128, -(kLimit - 128)));
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { check(kLimit - 3 * 128 + 1, 0); }),
              testing::HasSubstr("tensor 'b': element 0 is"));
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { check(0, std::numeric_limits<std::int32_t>::min()); }),
              testing::HasSubstr("tensor 'b': element 1 is"));
}

}  // namespace
}  // namespace latent8
