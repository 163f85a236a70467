// Speed of the linear kernels as shares of what this machine can do: multiply-adds against the table's own
// peak, bytes of weights against a plain read. Weights rotate through kWeightBytes, more than the last-level
// cache of most machines, because serving reads every weight once per step.
//   gemm_bench --benchmark_filter='gemm_s8/avx512_vnni/m:1/.*'
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <string>

#include "base/aligned_buffer.h"
#include "kernels/activation_codes.h"
#include "kernels/gemm_args.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

constexpr std::int64_t kWeightBytes = std::int64_t{512} << 20;

struct Shape {
  std::int64_t n, k;
};
// Experts, dense MLP and o_proj of DeepSeek-V2-Lite and DeepSeek-V3.
constexpr Shape kShapes[] = {{1408, 2048}, {2048, 1408}, {10944, 2048}, {2048, 7168}, {7168, 2048}};
constexpr std::int64_t kRows[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// MACs per second of a peak kernel: the best of five runs.
template <class Number>
double peak(std::int64_t (*kernel)(std::int64_t, Number*)) {
  double best = 0.0;
  for (int run = 0; run < 5; ++run) {
    Number sink = 0;
    const auto start = std::chrono::steady_clock::now();
    const std::int64_t macs = kernel(200'000, &sink);
    best = std::max(best, static_cast<double>(macs) / seconds_since(start));
    benchmark::DoNotOptimize(sink);
  }
  return best;
}

const AlignedBuffer<std::int8_t>& weights() {
  static const AlignedBuffer<std::int8_t> buffer = [] {
    AlignedBuffer<std::int8_t> fill(kWeightBytes);
    for (std::int64_t i = 0; i < fill.size(); ++i) fill[i] = static_cast<std::int8_t>(i * 37 % 61);
    return fill;
  }();
  return buffer;
}

// Bytes per second of read_memory over the weights: the best of three runs.
double read_rate(const KernelTable& table) {
  double best = 0.0;
  for (int run = 0; run < 3; ++run) {
    const auto start = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(table.read_memory(weights().data(), weights().size()));
    best = std::max(best, static_cast<double>(weights().size()) / seconds_since(start));
  }
  return best;
}

struct Limits {
  double s8, f32, read;  // per second
};

const Limits& limits(const KernelTable& table) {
  static std::map<std::string, Limits> known;
  const auto found = known.find(table.name);
  if (found != known.end()) return found->second;
  return known[table.name] = {peak(table.peak_s8), peak(table.peak_f32), read_rate(table)};
}

// Rates of one call that does `macs` multiply-adds and reads `bytes` of weights.
void report(benchmark::State& state, double macs, double peak_macs, double bytes, double peak_bytes) {
  using benchmark::Counter;
  constexpr auto kRate = Counter::kIsIterationInvariantRate;
  state.counters["GMAC/s"] = Counter(macs / 1e9, kRate);
  state.counters["GB/s"] = Counter(bytes / 1e9, kRate);
  state.counters["of_peak_%"] = Counter(100.0 * macs / peak_macs, kRate);
  state.counters["of_read_%"] = Counter(100.0 * bytes / peak_bytes, kRate);
}

// Where the next call's weights lie: the buffer is walked from front to back, then again.
std::int64_t next_offset(std::int64_t at, std::int64_t bytes) {
  return at + 2 * bytes > weights().size() ? 0 : at + bytes;
}

void bench_gemm_s8(benchmark::State& state, const KernelTable& table, std::int64_t m, Shape shape) {
  AlignedBuffer<std::byte> bytes(table.code_bytes(m, shape.k));
  const AlignedBuffer<float> zeros(m * shape.k), scale(shape.n);
  AlignedBuffer<float> a_scale(m), c(m * shape.n);
  const ActivationCodes a{bytes.data(), a_scale.data(), m, shape.k};
  table.quantize_dynamic({zeros.data(), a, 0, m, shape.k});
  AlignedBuffer<char> scratch(table.gemm_s8_scratch_bytes(m, shape.n, shape.k));
  const Limits& limit = limits(table);  // measured outside the timed loop
  std::int64_t at = 0;
  for (auto _ : state) {
    table.gemm_s8(
        {a, 0, m, weights().data() + at, shape.n, c.data(), shape.n, scale.data(), nullptr, scratch.data()});
    at = next_offset(at, shape.n * shape.k);
  }
  const auto weight_bytes = static_cast<double>(shape.n * shape.k);
  report(state, static_cast<double>(m) * weight_bytes, limit.s8, weight_bytes, limit.read);
}

void bench_gemm_bf16(benchmark::State& state, const KernelTable& table, std::int64_t m, Shape shape) {
  const AlignedBuffer<float> a(m * shape.k);
  AlignedBuffer<float> c(m * shape.n);
  const Limits& limit = limits(table);  // measured outside the timed loop
  std::int64_t at = 0;
  for (auto _ : state) {
    table.gemm_f32({a.data(), weights().data() + at, c.data(), m, shape.n, shape.k, shape.k, shape.k, shape.n,
                    WeightType::kBf16, nullptr, 0, 0});
    at = next_offset(at, shape.n * shape.k * 2);
  }
  const auto weight_count = static_cast<double>(shape.n * shape.k);
  report(state, static_cast<double>(m) * weight_count, limit.f32, 2.0 * weight_count, limit.read);
}

// The absorbed query of one head: q_nope [m, 128] times w_uk [128, 512].
void bench_gemm_nn_bf16(benchmark::State& state, const KernelTable& table, std::int64_t m, Shape shape) {
  const AlignedBuffer<float> a(m * shape.k);
  AlignedBuffer<float> c(m * shape.n);
  const Limits& limit = limits(table);  // measured outside the timed loop
  std::int64_t at = 0;
  for (auto _ : state) {
    table.gemm_nn_f32({a.data(), weights().data() + at, c.data(), m, shape.n, shape.k, shape.k, shape.n,
                       shape.n, WeightType::kBf16, nullptr, 0, 0});
    at = next_offset(at, shape.n * shape.k * 2);
  }
  const auto weight_count = static_cast<double>(shape.n * shape.k);
  report(state, static_cast<double>(m) * weight_count, limit.f32, 2.0 * weight_count, limit.read);
}

using Body = void (*)(benchmark::State&, const KernelTable&, std::int64_t, Shape);

void add(const std::string& family, const KernelTable& table, Body body, std::int64_t m, Shape shape) {
  const std::string name = family + "/" + table.name + "/m:" + std::to_string(m) +
                           "/n:" + std::to_string(shape.n) + "/k:" + std::to_string(shape.k);
  benchmark::RegisterBenchmark(name.c_str(), [=, &table](benchmark::State& s) { body(s, table, m, shape); });
}

void add_all() {
  for (const KernelTable* table : all_tables()) {
    if (!is_supported(*table)) continue;
    for (const std::int64_t m : kRows) {
      for (const Shape shape : kShapes) {
        add("gemm_s8", *table, &bench_gemm_s8, m, shape);
        add("gemm_bf16", *table, &bench_gemm_bf16, m, shape);
      }
      add("gemm_nn_bf16", *table, &bench_gemm_nn_bf16, m, {512, 128});
    }
  }
}

}  // namespace
}  // namespace latent8

int main(int argc, char** argv) {
  latent8::add_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
