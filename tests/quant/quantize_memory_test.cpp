#include <gmock/gmock.h>

#include <regex>

#include "quant/peak_memory.h"
#include "quant/random_model.h"
#include "support/errors.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

class QuantizeMemory : public QuantizeTest {
 protected:
  static bool same_files(const fs::path& a, const fs::path& b) {
    for (const auto& entry : fs::directory_iterator(a))
      if (read_file(entry.path()) != read_file(b / entry.path().filename())) return false;
    return true;
  }
  // What quantize() says it needs at least, and a little more: prompts run nearly one by one.
  static std::int64_t tight_cap(QuantizeOptions o) {
    o.max_memory = kMiB;
    const std::string message = error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); });
    std::smatch least;
    EXPECT_TRUE(std::regex_search(message, least, std::regex("at least ([0-9]+) MiB")));
    return (std::stoll(least[1]) + 2) * kMiB;
  }
};

TEST_F(QuantizeMemory, StaysBelowTheCapOnALargerModel) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  TempDir source;
  const RandomModel model(source, {.layers = 5, .hidden = 512, .intermediate = 512, .experts = 64});
  QuantizeOptions o = options(source.path());
  o.calib = dir_.write("calib.json", many_prompts());
  o.max_memory = 128 * kMiB;
  o.threads = 2;
  ASSERT_GT(model.bytes(), 2 * o.max_memory);

  EXPECT_LE(peak_of(o, dir_), o.max_memory);

  QuantizeOptions roomy = o;
  roomy.max_memory = std::int64_t{4} << 30;
  roomy.out = dir_ / "roomy";
  peak_of(roomy, dir_);
  EXPECT_TRUE(same_files(o.out, roomy.out));

  QuantizeOptions tight = o;
  tight.max_memory = tight_cap(o);
  tight.out = dir_ / "tight";
  EXPECT_LE(peak_of(tight, dir_), tight.max_memory);
  EXPECT_TRUE(same_files(tight.out, roomy.out));
}

TEST_F(QuantizeMemory, StaysBelowTheCapWhereNothingIsObserved) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  TempDir source;
  const RandomModel model(source, {.layers = 5, .hidden = 512, .intermediate = 512, .experts = 64});
  QuantizeOptions o = options(source.path());
  o.fa_quant = false;
  o.dynamic = true;
  o.max_memory = 128 * kMiB;
  ASSERT_GT(model.bytes(), 3 * o.max_memory);
  EXPECT_LE(peak_of(o, dir_), o.max_memory);
}

TEST_F(QuantizeMemory, SaysHowMuchIsNeeded) {
  QuantizeOptions o = options();
  o.max_memory = kMiB;
  const std::string message = error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); });
  EXPECT_THAT(message, HasSubstr("MiB expected for one layer's attention and a prompt of"));
  EXPECT_THAT(message, HasSubstr("--max-memory"));
  EXPECT_FALSE(fs::exists(dir_ / "out.partial"));
}

}  // namespace
}  // namespace latent8
