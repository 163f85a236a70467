#include "eval/needle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"

namespace latent8 {
namespace {

using ::testing::HasSubstr;

const std::string kTinyModel = LATENT8_SOURCE_DIR "/models/tiny-r1";
constexpr const char* kFillerText =
    "A cache keeps what was computed. Pages of a cache have one size. A page that nobody reads is given "
    "back. ";

std::string as_question(const std::string& question) { return "Q: " + question + "\nA: "; }

class NeedleTest : public ::testing::Test {
 protected:
  Tokenizer tokenizer_ = Tokenizer::load(kTinyModel);
  NeedleMaker maker_{tokenizer_, as_question, kFillerText};

  std::string text(const NeedlePrompt& prompt) { return tokenizer_.decode(prompt.ids); }
};

TEST_F(NeedleTest, HasTheLengthThatIsAskedForAndNeverMore) {
  for (const std::int64_t length : {100, 333, 2000}) {
    const NeedlePrompt prompt = maker_.make(length, 0.5, 1);
    const auto size = static_cast<std::int64_t>(prompt.ids.size() + prompt.answer.size());

    EXPECT_LE(size, length);
    EXPECT_GE(size, length - 12);
  }
}

TEST_F(NeedleTest, StatesTheKeyAtItsDepthAndAsksForItsWord) {
  for (const double depth : {0.0, 0.5, 1.0}) {
    const NeedlePrompt prompt = maker_.make(1000, depth, 2);
    const std::string all = text(prompt), key = tokenizer_.decode(prompt.answer);
    const std::size_t fact = all.find(key + ".");

    ASSERT_NE(fact, std::string::npos);
    EXPECT_NEAR(static_cast<double>(fact) / static_cast<double>(all.size()), depth, 0.06);
    EXPECT_EQ(all.find(key, fact + 1), std::string::npos);  // the prompt does not end with the answer
    EXPECT_THAT(all, HasSubstr("What is the key of "));
    EXPECT_EQ(prompt.answer.size(), 2U);
  }
}

TEST_F(NeedleTest, IsTheSameForTheSameSeedOnly) {
  EXPECT_EQ(maker_.make(200, 0.3, 5).ids, maker_.make(200, 0.3, 5).ids);
  EXPECT_NE(maker_.make(200, 0.3, 5).answer, maker_.make(200, 0.3, 6).answer);
}

TEST_F(NeedleTest, RefusesALengthWithoutRoomForTheQuestion) {
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { maker_.make(10, 0.5, 1); }), HasSubstr("got 10"));
}

}  // namespace
}  // namespace latent8
