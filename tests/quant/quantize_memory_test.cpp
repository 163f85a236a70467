#include <gmock/gmock.h>
#include <malloc.h>

#include <fstream>

#include "quant/child_process.h"
#include "quant/quantize_fixture.h"
#include "quant/random_model.h"
#include "support/errors.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

// Peak memory counts from here on, without what tests before this one have left.
void reset_peak() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;
}

// 80 prompts of some 16 tokens: more than a step has.
std::string many_prompts() {
  nlohmann::json prompts;
  for (int i = 0; i < 80; ++i)
    prompts.push_back("Text " + std::to_string(i) +
                      " of a calibration set that is longer than a step of tokens.");
  return prompts.dump();
}

class QuantizeMemory : public QuantizeTest {
 protected:
  // Quantises in a process of its own; returns its peak of resident memory.
  std::int64_t peak_of(const QuantizeOptions& o) {
    const ChildProcess child([&] {
      reset_peak();
      const QuantizeResult result = quantize(o);
      std::ofstream(dir_ / "peak") << peak_resident_bytes();
      if (result.peak_memory > peak_resident_bytes()) throw std::runtime_error("reported more than the peak");
    });
    EXPECT_TRUE(child.finished());
    const std::int64_t peak = std::stoll(read_file(dir_ / "peak"));
    RecordProperty("peak_kib_of_" + o.out.filename().string(), static_cast<int>(peak >> 10));
    return peak;
  }
  static bool same_files(const fs::path& a, const fs::path& b) {
    for (const auto& entry : fs::directory_iterator(a))
      if (read_file(entry.path()) != read_file(b / entry.path().filename())) return false;
    return true;
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

  EXPECT_LE(peak_of(o), o.max_memory);

  QuantizeOptions roomy = o;
  roomy.max_memory = std::int64_t{4} << 30;
  roomy.out = dir_ / "roomy";
  peak_of(roomy);
  EXPECT_TRUE(same_files(o.out, roomy.out));
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
  EXPECT_LE(peak_of(o), o.max_memory);
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
