#include "ops/mla_attend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/aligned_buffer.h"
#include "kernels/attend_args.h"
#include "kernels/ref/mla_ref.h"
#include "support/linears.h"
#include "support/panel_table.h"

namespace latent8 {
namespace {

constexpr std::int64_t kHeads = 6, kRank = 64, kRope = 32;
constexpr float kScale = 0.03F;

// What a test of attention over pages is about: sequences of these lengths, of which the last tokens ask.
struct Step {
  std::vector<std::int64_t> seq_lens, queries;
};

// The latents of all sequences in pages, in blocks that are handed out in turn, and random queries. Token t of the
// step always has the same values, whatever else is in the step.
class Problem {
 public:
  Problem(CacheType type, Step step, std::int64_t block_size) : step_(std::move(step)) {
    pages_.layout = {type, kRank, kRope};
    pages_.block_size = block_size;
    pages_.scale = kScale;
    const auto n = step_.seq_lens.size();
    tables_.resize(n);
    std::int32_t blocks = 0;
    const std::int64_t longest = *std::max_element(step_.seq_lens.begin(), step_.seq_lens.end());
    for (std::int64_t at = 0; at < longest; at += block_size)
      for (std::size_t i = 0; i < n; ++i)
        if (at < step_.seq_lens[i]) tables_[i].push_back(blocks++);
    memory_ = AlignedBuffer<std::byte>(blocks * pages_.layout.page_bytes(block_size));
    pages_.base = memory_.data();
    for (std::size_t i = 0; i < n; ++i) {
      const std::vector<float> c_kv = normal_floats(step_.seq_lens[i] * kRank, 100 + i),
                               k_pe = normal_floats(step_.seq_lens[i] * kRope, 200 + i);
      for (std::int64_t p = 0; p < step_.seq_lens[i]; ++p)
        store_latent(pages_.layout, pages_.page(tables_[i][static_cast<std::size_t>(p / block_size)]),
                     p % block_size, &c_kv[static_cast<std::size_t>(p * kRank)],
                     &k_pe[static_cast<std::size_t>(p * kRope)], 1.0F / kScale);
    }
    std::int64_t tokens = std::accumulate(step_.queries.begin(), step_.queries.end(), std::int64_t{0});
    q8_ = Matrix<std::int8_t>(tokens * kHeads, kRank);
    q_ = Matrix<float>(tokens * kHeads, kRank);
    q_pe_ = Matrix<float>(tokens * kHeads, kRope);
    std::int64_t row = 0;
    for (std::size_t i = 0; i < n; ++i) {
      // From the sequence's end backwards: a shorter chunk asks for the same last tokens.
      for (std::int64_t t = step_.queries[i]; t > 0; --t)
        for (std::int64_t h = 0; h < kHeads; ++h, ++row) {
          const auto seed = static_cast<std::uint64_t>(1000 * (i + 1) + static_cast<std::size_t>(t * kHeads + h));
          const std::vector<std::int8_t> codes = random_codes(kRank, seed);
          const std::vector<float> q = normal_floats(kRank, seed), pe = normal_floats(kRope, seed + 7);
          for (std::int64_t d = 0; d < kRank; ++d) {
            q8_.row(row)[d] = codes[static_cast<std::size_t>(d)];
            q_.row(row)[d] = q[static_cast<std::size_t>(d)] * 0.1F;
          }
          for (std::int64_t r = 0; r < kRope; ++r) q_pe_.row(row)[r] = pe[static_cast<std::size_t>(r)] * 0.2F;
          qk_scale_.push_back(2e-5F);
        }
    }
  }

  // out [rows, rank] of the step.
  std::vector<float> run(const KernelTable& table, int threads) const {
    ThreadPool pool(threads);
    OpContext ctx(pool, table);
    AttendScratch scratch;
    Matrix<float> out(q_.rows(), kRank);
    std::vector<AttendSeq> seqs;
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      seqs.push_back({begin, begin + step_.queries[i], step_.seq_lens[i], tables_[i]});
      begin += step_.queries[i];
    }
    mla_attend(ctx, pages_, seqs, {kHeads, q8_.view(), qk_scale_, q_.view(), q_pe_.view()}, scratch, out.view());
    return values_of(out.view());
  }

  // Softmax attention in double over what the pages hold, P unrounded.
  std::vector<double> reference() const {
    std::vector<double> out;
    std::int64_t first_row = 0;
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      const std::int64_t len = step_.seq_lens[i], rows = step_.queries[i] * kHeads;
      std::vector<double> k, k_pe, q, pe;
      std::vector<float> c_kv(kRank), rope(kRope);
      for (std::int64_t p = 0; p < len; ++p) {
        const std::int32_t block = tables_[i][static_cast<std::size_t>(p / pages_.block_size)];
        load_latent(pages_.layout, pages_.page(block), p % pages_.block_size, kScale, c_kv.data(), rope.data());
        k.insert(k.end(), c_kv.begin(), c_kv.end());
        k_pe.insert(k_pe.end(), rope.begin(), rope.end());
      }
      std::vector<std::int32_t> visible;
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t row = first_row + r;
        for (std::int64_t d = 0; d < kRank; ++d)
          q.push_back(pages_.layout.type == CacheType::kInt8
                          ? double{qk_scale_[static_cast<std::size_t>(row)]} / kScale * q8_.row(row)[d]
                          : double{q_.row(row)[d]});
        pe.insert(pe.end(), q_pe_.row(row), q_pe_.row(row) + kRope);
        visible.push_back(static_cast<std::int32_t>(len - step_.queries[i] + r / kHeads + 1));
      }
      const MlaRefResult got =
          mla_attend_ref({rows, kRank, kRope, len, 0, 0, q.data(), nullptr, pe.data(), k.data(), k_pe.data(),
                          visible.data(), 0.0});
      for (std::size_t at = 0; at < got.out.size(); ++at)
        out.push_back(got.out[at] / got.sum[at / static_cast<std::size_t>(kRank)]);
      first_row += rows;
    }
    return out;
  }

 private:
  Step step_;
  LatentPages pages_;
  AlignedBuffer<std::byte> memory_;
  std::vector<std::vector<std::int32_t>> tables_;
  Matrix<std::int8_t> q8_;
  Matrix<float> q_, q_pe_;
  std::vector<float> qk_scale_;
};

constexpr CacheType kTypes[] = {CacheType::kInt8, CacheType::kF16, CacheType::kF32};

// Decodes and chunks together; one sequence is longer than a run of keys.
const Step& mixed_step() {
  static const Step step{{1, 5000, 40, 200, kRunKeys, kRunKeys + 1}, {1, 2, 40, 9, 1, 1}};
  return step;
}

TEST(MlaAttendOp, IsSoftmaxAttentionOverWhatThePagesHold) {
  for (const CacheType type : kTypes) {
    const Problem problem(type, mixed_step(), 64);
    const std::vector<double> want = problem.reference();

    const std::vector<float> got = problem.run(kernels(), 2);

    // int8: P has steps of 1 / 255 of its tile's maximum, and the largest |V| here is about 3.8.
    const double bound = type == CacheType::kInt8 ? 4.0 / 255 : 1e-4;
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], bound) << i;
  }
}

TEST(MlaAttendOp, HasTheSameBitsForEveryNumberOfThreadsAndBlockSize) {
  const KernelTable panels = panel_table();  // blocks of 32 rows instead of 128
  for (const CacheType type : kTypes) {
    const std::vector<float> one = Problem(type, mixed_step(), 64).run(find_table("scalar"), 1);

    for (const int threads : {2, 7, 32})
      EXPECT_EQ(Problem(type, mixed_step(), 64).run(find_table("scalar"), threads), one) << threads;
    EXPECT_EQ(Problem(type, mixed_step(), 16).run(find_table("scalar"), 2), one);
    EXPECT_EQ(Problem(type, mixed_step(), 128).run(panels, 3), one);
  }
}

TEST(MlaAttendOp, GivesATokenTheSameBitsAloneAsInAChunk) {
  for (const CacheType type : kTypes) {
    const std::vector<float> chunk = Problem(type, {{300}, {20}}, 32).run(kernels(), 2);

    const std::vector<float> last = Problem(type, {{300}, {1}}, 32).run(kernels(), 2);

    EXPECT_EQ(last, std::vector<float>(chunk.end() - kHeads * kRank, chunk.end()));
  }
}

}  // namespace
}  // namespace latent8
