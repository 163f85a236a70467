#pragma once
// How much memory a run takes.

#include <malloc.h>

#include <fstream>
#include <string>

#include "quant/child_process.h"
#include "quant/quantize_fixture.h"
#include "sys/topology.h"

namespace latent8 {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

// Peak memory counts from here on, without what tests before this one have left.
inline void reset_peak() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;
}

// 80 prompts of some 16 tokens: more than a step has.
inline std::string many_prompts() {
  nlohmann::json prompts;
  for (int i = 0; i < 80; ++i)
    prompts.push_back("Text " + std::to_string(i) +
                      " of a calibration set that is longer than a step of tokens.");
  return prompts.dump();
}

// Quantises in a process of its own; returns its peak of resident memory.
inline std::int64_t peak_of(const QuantizeOptions& o, const TempDir& dir) {
  const ChildProcess child([&] {
    reset_peak();
    const QuantizeResult result = quantize(o);
    std::ofstream(dir / "peak") << peak_resident_bytes();
    // Linux counts pages per CPU and sums now and then: a later reading may be a little below an earlier one.
    constexpr std::int64_t kInexact = std::int64_t{1} << 20;
    if (result.peak_memory > peak_resident_bytes() + kInexact)
      throw std::runtime_error("reported more than the peak");
  });
  EXPECT_TRUE(child.finished());
  const std::int64_t peak = std::stoll(read_file(dir / "peak"));
  testing::Test::RecordProperty("peak_kib_of_" + o.out.filename().string(), static_cast<int>(peak >> 10));
  return peak;
}

}  // namespace latent8
