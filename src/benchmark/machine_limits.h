#pragma once
// What this machine can do at most, measured: the yardstick of every speed that latent8 reports.

#include <cstddef>
#include <cstdint>

#include "base/aligned_buffer.h"
#include "sys/thread_pool.h"

namespace latent8 {

struct KernelTable;

// Rates of all threads of the pool together.
struct MachineLimits {
  double int8_gmacs = 0;  // 10^9 multiply-adds per second of the int8 dot product
  double bf16_gmacs = 0;  // of the bf16 dot product; 0 where the kernel table has none
  double fp32_gmacs = 0;  // of fp32 FMA
  double dram_gbs = 0;    // 10^9 bytes per second read from memory, the best of 1 and 4 streams per thread
};

// The larger of each: a shared machine is slower at times, never faster.
MachineLimits larger(const MachineLimits& a, const MachineLimits& b);

// Measures over a buffer of 2 GiB that is allocated once.
class LimitMeter {
 public:
  LimitMeter(ThreadPool& pool, const KernelTable& table);
  MachineLimits measure();  // takes about a second
  double dram_gbs();        // of these the rate of memory alone

 private:
  double peak(std::int64_t (*run)(ThreadPool&, const KernelTable&, std::int64_t));
  double read_rate(int streams);

  ThreadPool& pool_;
  const KernelTable& table_;
  AlignedBuffer<std::byte> memory_;
};

}  // namespace latent8
