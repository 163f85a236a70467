// Speed of MLA attention on one thread, as a share of the machine's limit measured in the same run.
//
//   attend_bench [ISA]            # a table of kernel_table.h; the best one by default
//
// Every case walks over sequences of 32,768 tokens whose pages lie shuffled in a pool larger than the
// last-level cache, run after run of 4,096 keys as the engine does. The limit of the int8 form is the time of
// 1,024 int8 and 64 fp32 multiply-adds per row and key at their peaks; of the float forms, all 1,088 at the
// fp32 peak. Each repetition measures the peaks and every case once, so that they share the machine's mood;
// the medians are printed with the lowest and the highest value. The last lines tell what keeping the cache
// in NZ order in memory would cost: a repack of every block into the order that the kernel reads.

#include <fmt/format.h>
#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/rng.h"
#include "kernels/attend_args.h"
#include "kernels/kernel_table.h"
#include "kernels/latent_layout.h"

namespace latent8 {
namespace {

constexpr std::int64_t kRank = 512, kRope = 64, kTokens = 32768, kBlockSize = 128, kSequences = 14;
constexpr int kRepetitions = 10;

// The thread's CPU time: what other programs take on a busy machine does not count.
double now_s() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

struct Spread {
  std::vector<double> values;
  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
  double low() const { return *std::min_element(values.begin(), values.end()); }
  double high() const { return *std::max_element(values.begin(), values.end()); }
};

// The groups of kSequences sequences in shuffled pages.
struct Cache {
  explicit Cache(CacheType type) : layout{type, kRank, kRope} {
    const std::int64_t pages = kSequences * kTokens / kBlockSize, bytes = layout.page_bytes(kBlockSize);
    memory = AlignedBuffer<char>(pages * bytes);
    Rng rng(1);
    // 0x3f clears exponents that would be NaN or huge in fp16 and fp32.
    for (std::int64_t i = 0; i + 8 <= memory.size(); i += 8) {
      const std::uint64_t x = rng.next_u64() & 0x3f3f3f3f3f3f3f3fULL;
      std::memcpy(memory.data() + i, &x, 8);
    }
    std::vector<std::int64_t> order(static_cast<std::size_t>(pages));
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i], order[static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(i) + 1))]);
    for (const std::int64_t page : order)
      for (std::int64_t g = 0; g < kBlockSize / kGroupKeys; ++g)
        groups.push_back(memory.data() + page * bytes + g * layout.group_bytes());
  }
  LatentLayout layout;
  AlignedBuffer<char> memory;
  std::vector<const void*> groups;
};

// One block of query rows; `tokens` of them attend causally at the end of the sequence.
struct Queries {
  Queries(const KernelTable& table, std::int64_t tokens, std::int64_t heads)
      : rows(tokens * heads),
        q8(static_cast<std::size_t>(rows * kRank)),
        q(static_cast<std::size_t>(rows * kRank)),
        q_pe(static_cast<std::size_t>(rows * kRope), 0.01F),
        qk_scale(static_cast<std::size_t>(rows), 1e-5F),
        out(static_cast<std::size_t>(rows * kRank)),
        max(static_cast<std::size_t>(rows)),
        sum(static_cast<std::size_t>(rows)),
        scratch(table.attend_scratch_bytes(kRank, kRope)) {
    Rng rng(2);
    for (std::int8_t& x : q8) x = static_cast<std::int8_t>(rng.below(256) - 128);
    for (float& x : q) x = rng.normal() * 0.01F;
    for (std::int64_t t = 0; t < tokens; ++t)
      visible.insert(visible.end(), static_cast<std::size_t>(heads),
                     static_cast<std::int32_t>(kTokens - tokens + t + 1));
  }
  std::int64_t rows;
  std::vector<std::int8_t> q8;
  std::vector<float> q, q_pe, qk_scale;
  std::vector<std::int32_t> visible;
  std::vector<float> out, max, sum;
  AlignedBuffer<char> scratch;
};

// Seconds for one sequence.
double attend(const KernelTable& table, const Cache& cache, std::int64_t sequence, Queries& q) {
  const double begin = now_s();
  for (std::int64_t key = 0; key < kTokens; key += kRunKeys) {
    const void* const* groups =
        &cache.groups[static_cast<std::size_t>((sequence * kTokens + key) / kGroupKeys)];
    if (cache.layout.type == CacheType::kInt8)
      table.mla_attend_s8({groups, key, kRunKeys, q.rows, kRank, kRope, q.q8.data(), q.qk_scale.data(),
                           q.q_pe.data(), q.visible.data(), 0.03F, q.out.data(), q.max.data(), q.sum.data(),
                           q.scratch.data()});
    else
      table.mla_attend_f16({groups, key, kRunKeys, q.rows, kRank, kRope, q.q.data(), q.q_pe.data(),
                            q.visible.data(), q.out.data(), q.max.data(), q.sum.data(), q.scratch.data()});
  }
  return now_s() - begin;
}

struct Peaks {  // MACs per second
  double s8, f32;
};

Peaks measure_peaks(const KernelTable& table) {
  constexpr std::int64_t kRounds = 2'000'000;
  std::int32_t s8_sink = 1;
  float f32_sink = 0.0F;
  double begin = now_s();
  const auto s8 = static_cast<double>(table.peak_s8(kRounds, &s8_sink));
  const double s8_s = now_s() - begin;
  begin = now_s();
  const auto f32 = static_cast<double>(table.peak_f32(kRounds, &f32_sink));
  return {s8 / s8_s, f32 / (now_s() - begin)};
}

// The latent of one block from NZ order, [rank / 32][128 keys][32] s8, into groups [rank / 4][16 keys][4] u8.
__attribute__((target("avx512f,avx512bw"))) void repack_block(const char* nz, char* groups) {
  const __m512i low = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(4));
  const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
  for (std::int64_t g = 0; g < kBlockSize / kGroupKeys; ++g)
    for (std::int64_t c1 = 0; c1 < kRank / 32; ++c1) {
      const char* in = nz + c1 * kBlockSize * 32 + g * kGroupKeys * 32;
      char* out = groups + g * kGroupKeys * kRank + c1 * 512;
      __m512i quads[2][4];  // [dims 0..15 or 16..31][4 keys]: lane j holds dims 4j .. 4j + 3
      for (int p = 0; p < 4; ++p) {
        const __m512i a = _mm512_xor_si512(_mm512_loadu_si512(in + p * 128), sign);
        const __m512i b = _mm512_xor_si512(_mm512_loadu_si512(in + p * 128 + 64), sign);
        quads[0][p] = _mm512_permutex2var_epi32(a, low, b);
        quads[1][p] = _mm512_permutex2var_epi32(a, high, b);
      }
      for (int h = 0; h < 2; ++h) {
        const __m512i* x = quads[h];
        const __m512i low01 = _mm512_shuffle_i64x2(x[0], x[1], 0x44);
        const __m512i low23 = _mm512_shuffle_i64x2(x[2], x[3], 0x44);
        const __m512i high01 = _mm512_shuffle_i64x2(x[0], x[1], 0xee);
        const __m512i high23 = _mm512_shuffle_i64x2(x[2], x[3], 0xee);
        _mm512_storeu_si512(out + h * 256, _mm512_shuffle_i64x2(low01, low23, 0x88));
        _mm512_storeu_si512(out + h * 256 + 64, _mm512_shuffle_i64x2(low01, low23, 0xdd));
        _mm512_storeu_si512(out + h * 256 + 128, _mm512_shuffle_i64x2(high01, high23, 0x88));
        _mm512_storeu_si512(out + h * 256 + 192, _mm512_shuffle_i64x2(high01, high23, 0xdd));
      }
    }
}

// Seconds to repack the blocks of one sequence. The block is read from the L2 cache, where prefetching during
// the block before it would have put it; so this is the arithmetic alone, a lower bound of what NZ costs.
double repack(const AlignedBuffer<char>& nz, AlignedBuffer<char>& groups) {
  const double begin = now_s();
  for (std::int64_t block = 0; block < kTokens / kBlockSize; ++block) repack_block(nz.data(), groups.data());
  return now_s() - begin;
}

bool repack_is_right(const AlignedBuffer<char>& nz, const AlignedBuffer<char>& groups) {
  const LatentLayout latent{CacheType::kInt8, kRank, 0};
  std::vector<char> page(static_cast<std::size_t>(latent.page_bytes(kBlockSize)));
  page_from_nz(latent, kBlockSize, nz.data(), nullptr, page.data());
  return std::memcmp(page.data(), groups.data(), page.size()) == 0;
}

struct Case {
  const char* name;
  const Cache* cache;
  Queries queries;
  Spread share, gmacs, gbs, seconds;
};

void run_cases(const KernelTable& table, std::vector<Case>& cases, Spread& repack_s, bool with_repack) {
  AlignedBuffer<char> nz(kBlockSize * kRank), groups(kBlockSize * kRank);
  Rng rng(3);
  for (char& byte : nz.span()) byte = static_cast<char>(rng.next_u64() & 255U);
  std::int64_t sequence = 0;
  for (int repetition = 0; repetition < kRepetitions; ++repetition)
    for (Case& c : cases) {
      const Peaks peaks = measure_peaks(table);
      const double seconds = attend(table, *c.cache, sequence++ % kSequences, c.queries);
      const auto pairs = static_cast<double>(c.queries.rows * kTokens);
      const bool s8 = c.cache->layout.type == CacheType::kInt8;
      const double limit = s8 ? kRank * 2 / peaks.s8 + kRope / peaks.f32 : (kRank * 2 + kRope) / peaks.f32;
      c.seconds.values.push_back(seconds);
      c.share.values.push_back(100 * pairs * limit / seconds);
      c.gmacs.values.push_back(pairs * (kRank * 2 + kRope) / seconds * 1e-9);
      c.gbs.values.push_back(static_cast<double>(kTokens * c.cache->layout.bytes_per_token()) / seconds *
                             1e-9);
      if (with_repack) repack_s.values.push_back(repack(nz, groups));
    }
  if (with_repack && !repack_is_right(nz, groups)) fmt::print("the repack is wrong\n");
}

int run(std::string_view isa) {
  const KernelTable* table = &kernels();
  for (const KernelTable* t : all_tables())
    if (t->name == isa) table = t;
  if (!is_supported(*table)) {
    fmt::print("this CPU cannot run {}\n", table->name);
    return 1;
  }
  const Cache s8(CacheType::kInt8), f16(CacheType::kF16);
  std::vector<Case> cases;
  cases.push_back({"decode 128 heads", &s8, Queries(*table, 1, 128), {}, {}, {}, {}});
  cases.push_back({"decode 16 heads", &s8, Queries(*table, 1, 16), {}, {}, {}, {}});
  cases.push_back({"prefill 8 tokens x 16 heads", &s8, Queries(*table, 8, 16), {}, {}, {}, {}});
  cases.push_back({"float decode 128 heads", &f16, Queries(*table, 1, 128), {}, {}, {}, {}});
  cases.push_back({"float decode 16 heads", &f16, Queries(*table, 1, 16), {}, {}, {}, {}});
  const bool with_repack = std::string_view(table->name).starts_with("avx512");
  Spread repack_s;
  run_cases(*table, cases, repack_s, with_repack);

  const Peaks peaks = measure_peaks(*table);
  fmt::print("{}: peak {:.1f} GMAC/s int8, {:.1f} fp32; {} keys, {:.0f} MiB of int8 cache\n", table->name,
             peaks.s8 * 1e-9, peaks.f32 * 1e-9, kTokens, static_cast<double>(s8.memory.size()) / (1 << 20));
  for (const Case& c : cases)
    fmt::print("{:28} {:6.1f} GMAC/s  {:5.1f} % of limit ({:.1f} to {:.1f})  {:5.2f} GB/s\n", c.name,
               c.gmacs.median(), c.share.median(), c.share.low(), c.share.high(), c.gbs.median());
  if (with_repack)
    for (std::size_t i = 0; i < 2; ++i)
      fmt::print("{:28} NZ in memory would add {:.1f} % time\n", cases[i].name,
                 100 * repack_s.median() / cases[i].seconds.median());
  return 0;
}

}  // namespace
}  // namespace latent8

int main(int argc, char** argv) { return latent8::run(argc > 1 ? argv[1] : ""); }
