#include "benchmark/machine_limits.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "benchmark/clock.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

constexpr std::int64_t kBytes = std::int64_t{2} << 30;
constexpr std::int64_t kRounds = 400'000;  // of a peak kernel; about 10 ms
constexpr int kRepeats = 7;

// One peak kernel on every thread; returns all MACs.
template <class Kernel, class Sink>
std::int64_t on_all_threads(ThreadPool& pool, Kernel kernel, Sink, std::int64_t rounds) {
  std::atomic<std::int64_t> macs{0};
  pool.parallel_for(pool.threads(), 1, [&](std::int64_t, std::int64_t, int) {
    Sink sink{};
    macs += kernel(rounds, &sink);
  });
  return macs;
}

}  // namespace

MachineLimits larger(const MachineLimits& a, const MachineLimits& b) {
  return {std::max(a.int8_gmacs, b.int8_gmacs), std::max(a.bf16_gmacs, b.bf16_gmacs),
          std::max(a.fp32_gmacs, b.fp32_gmacs), std::max(a.dram_gbs, b.dram_gbs)};
}

LimitMeter::LimitMeter(ThreadPool& pool, const KernelTable& table)
    : pool_(pool), table_(table), memory_(kBytes) {
  // Pages that were never written would all be the same one page of zeros.
  std::memset(memory_.data(), 1, static_cast<std::size_t>(kBytes));
}

double LimitMeter::peak(std::int64_t (*run)(ThreadPool&, const KernelTable&, std::int64_t)) {
  double best = 0;
  for (int i = 0; i < kRepeats; ++i) {
    const double begin = seconds_now();
    const std::int64_t macs = run(pool_, table_, kRounds);
    best = std::max(best, static_cast<double>(macs) / (seconds_now() - begin) / 1e9);
  }
  return best;
}

double LimitMeter::read_rate(int streams) {
  const std::int64_t pieces = std::int64_t{pool_.threads()} * streams;
  const std::int64_t bytes = kBytes / pieces / 4096 * 4096;
  double best = 0;
  for (int i = 0; i < 3; ++i) {
    const double begin = seconds_now();
    std::atomic<std::int64_t> sum{0};  // keeps the reads
    pool_.parallel_for(pool_.threads(), 1, [&](std::int64_t thread, std::int64_t, int) {
      // Streams advance in turns of 4 KiB, so that several of them are under way at once.
      constexpr std::int64_t kTurn = 4096;
      std::int64_t local = 0;
      const auto* base = memory_.data() + thread * streams * bytes;
      for (std::int64_t at = 0; at < bytes; at += kTurn)
        for (int s = 0; s < streams; ++s) local += table_.read_memory(base + s * bytes + at, kTurn);
      sum += local;
    });
    best = std::max(best, static_cast<double>(bytes * pieces) / (seconds_now() - begin) / 1e9);
  }
  return best;
}

double LimitMeter::dram_gbs() { return std::max(read_rate(1), read_rate(4)); }

MachineLimits LimitMeter::measure() {
  MachineLimits limits;
  limits.int8_gmacs = peak([](ThreadPool& pool, const KernelTable& t, std::int64_t n) {
    return on_all_threads(pool, t.peak_s8, std::int32_t{}, n);
  });
  limits.fp32_gmacs = peak([](ThreadPool& pool, const KernelTable& t, std::int64_t n) {
    return on_all_threads(pool, t.peak_f32, float{}, n);
  });
  if (table_.peak_bf16 != nullptr)
    limits.bf16_gmacs = peak([](ThreadPool& pool, const KernelTable& t, std::int64_t n) {
      return on_all_threads(pool, t.peak_bf16, float{}, n);
    });
  limits.dram_gbs = dram_gbs();
  return limits;
}

}  // namespace latent8
