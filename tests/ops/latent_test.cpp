#include "ops/latent.h"

#include <gtest/gtest.h>

#include "support/linears.h"

namespace latent8 {
namespace {

constexpr LatentShape kShape{.heads = 2, .rank = 320, .nope = 48, .rope = 16};

struct Pages {
  explicit Pages(CacheType type, std::int64_t tokens) {
    pages.layout = {type, kShape.rank, kShape.rope};
    pages.block_size = 16;
    pages.scale = 0.03F;
    memory = AlignedBuffer<std::byte>((tokens + 15) / 16 * pages.layout.page_bytes(16));
    pages.base = memory.data();
  }
  AlignedBuffer<std::byte> memory;
  LatentPages pages;
};

struct Absorbed {
  std::vector<float> absorbed, q_pe, qk_scale;
  std::vector<std::int8_t> q8;
  bool operator==(const Absorbed&) const = default;
};

Absorbed absorb(int threads, CacheType type, const HeadWeights& w_uk, ConstMat<float> q) {
  ThreadPool pool(threads);
  OpContext ctx(pool);
  const Pages memory(type, 1);
  const std::int64_t rows = q.rows * kShape.heads;
  Matrix<float> absorbed(rows, kShape.rank), q_pe(rows, kShape.rope);
  Matrix<std::int8_t> q8(rows, kShape.rank);
  std::vector<float> qk_scale(static_cast<std::size_t>(rows));
  absorb_queries(ctx, kShape, w_uk, 0.125F, memory.pages, q, {absorbed.view(), q_pe.view(), q8.view(), qk_scale});
  return {values_of(absorbed.view()), values_of(q_pe.view()), qk_scale, {q8.row(0), q8.row(0) + rows * kShape.rank}};
}

// With 16 threads a head is cut, over columns where there is one token: then codes are made in a second loop.
TEST(AbsorbQueries, HasTheSameBitsHoweverTheHeadsAreCut) {
  const OwnedLinear kv_b(Stored::kBf16, kShape.heads * (kShape.nope + 8), kShape.rank, 1);
  const HeadWeights w_uk{kShape.heads, kShape.nope, kShape.rank, 0, kShape.nope + 8, kv_b.linear};
  for (const CacheType type : {CacheType::kInt8, CacheType::kF16})
    for (const std::int64_t m : {1, 3, 150}) {
      const Matrix<float> q = normal_matrix(m, kShape.heads * kShape.q_head(), 2);
      const Absorbed one = absorb(1, type, w_uk, q.view());

      EXPECT_EQ(absorb(3, type, w_uk, q.view()), one);
      EXPECT_EQ(absorb(16, type, w_uk, q.view()), one);
    }
}

TEST(AbsorbQueries, ScalesByTheSoftmaxAndForInt8ByTheKeysScale) {
  const OwnedLinear kv_b(Stored::kF32, kShape.heads * kShape.nope, kShape.rank, 1);
  const HeadWeights w_uk{kShape.heads, kShape.nope, kShape.rank, 0, kShape.nope, kv_b.linear};
  const Matrix<float> q = normal_matrix(2, kShape.heads * kShape.q_head(), 2);

  const Absorbed floats = absorb(2, CacheType::kF32, w_uk, q.view());
  const Absorbed codes = absorb(2, CacheType::kInt8, w_uk, q.view());

  for (std::size_t i = 0; i < floats.absorbed.size(); ++i) {
    const std::size_t row = i / static_cast<std::size_t>(kShape.rank);
    // qk_scale has the keys' scale; half a step of a code is its error.
    const float step = codes.qk_scale[row] / 0.03F;
    ASSERT_NEAR(static_cast<float>(codes.q8[i]) * step, floats.absorbed[i], 0.501F * step);
  }
  for (std::int64_t t = 0; t < 2; ++t)
    for (std::int64_t h = 0; h < kShape.heads; ++h)
      for (std::int64_t r = 0; r < kShape.rope; ++r)
        EXPECT_EQ(floats.q_pe[static_cast<std::size_t>((t * kShape.heads + h) * kShape.rope + r)],
                  q.row(t)[h * kShape.q_head() + kShape.nope + r] * 0.125F);
}

TEST(FinishLatent, NormalisesTheLatentAndRotatesBothRopeParts) {
  ThreadPool pool(3);
  OpContext ctx(pool);
  const std::vector<float> weight = normal_floats(kShape.rank, 4), angle = normal_floats(100 * 8, 5);
  std::vector<float> cos, sin;
  for (const float a : angle) {
    cos.push_back(std::cos(a));
    sin.push_back(std::sin(a));
  }
  const RopeTable table{cos, sin, kShape.rope};
  const std::vector<std::int32_t> positions{3, 99, 0, 17, 18, 19};
  Matrix<float> kv = normal_matrix(6, kShape.rank + kShape.rope, 1), q = normal_matrix(6, 2 * kShape.q_head(), 2);
  Matrix<float> want_kv = normal_matrix(6, kShape.rank + kShape.rope, 1), want_q = normal_matrix(6, 2 * kShape.q_head(), 2);
  const Mat<float> c_kv = want_kv.view().col_range(0, kShape.rank);
  rms_norm(ctx, c_kv, {weight, {}}, 1e-6F, c_kv);
  rope(ctx, want_kv.view(), 1, want_kv.cols(), kShape.rank, positions, table);
  rope(ctx, want_q.view(), 2, kShape.q_head(), kShape.nope, positions, table);

  finish_latent(ctx, kShape, {weight, {}}, 1e-6F, positions, table, kv.view(), q.view());

  EXPECT_EQ(values_of(kv.view()), values_of(want_kv.view()));
  EXPECT_EQ(values_of(q.view()), values_of(want_q.view()));
}

TEST(StoreLatents, WritesEachTokenIntoItsSlotAndCountsClippedCodes) {
  ThreadPool pool(3);
  OpContext ctx(pool);
  Pages memory(CacheType::kInt8, 64);
  Matrix<float> kv = normal_matrix(20, kShape.rank + kShape.rope, 1);
  kv.row(7)[3] = 100.0F;
  kv.row(19)[0] = -100.0F;
  std::vector<std::int32_t> slots(20);
  for (std::int32_t t = 0; t < 20; ++t) slots[static_cast<std::size_t>(t)] = 63 - 3 * t;

  const std::int64_t clipped = store_latents(ctx, memory.pages, slots, kv.view());

  EXPECT_EQ(clipped, 2);
  std::vector<float> c_kv(static_cast<std::size_t>(kShape.rank)), k_pe(static_cast<std::size_t>(kShape.rope));
  for (std::int64_t t = 0; t < 20; ++t) {
    const std::int32_t slot = slots[static_cast<std::size_t>(t)];
    load_latent(memory.pages.layout, memory.pages.page_of_slot(slot), slot % 16, 0.03F, c_kv.data(), k_pe.data());
    EXPECT_NEAR(c_kv[10], kv.row(t)[10], 0.0151F);
    EXPECT_NEAR(k_pe[2], kv.row(t)[kShape.rank + 2], 2e-3F);
  }
}

TEST(CollectLatents, TakesTheHistoryFromThePagesAndTheRestAsItIs) {
  ThreadPool pool(2);
  OpContext ctx(pool);
  Pages memory(CacheType::kF32, 64);
  const Matrix<float> all = normal_matrix(37, kShape.rank + kShape.rope, 1);
  const std::vector<std::int32_t> blocks{2, 0, 1};
  std::vector<std::int32_t> slots;
  for (std::int32_t p = 0; p < 30; ++p) slots.push_back(blocks[static_cast<std::size_t>(p / 16)] * 16 + p % 16);
  store_latents(ctx, memory.pages, slots, all.view().row_range(0, 30));
  Matrix<float> c_kv(37, kShape.rank), k_pe(37, kShape.rope);

  collect_latents(ctx, memory.pages, blocks, all.view().row_range(30, 37), c_kv.view(), k_pe.view());

  EXPECT_EQ(values_of(c_kv.view()), values_of(all.view().col_range(0, kShape.rank)));
  EXPECT_EQ(values_of(k_pe.view()), values_of(all.view().col_range(kShape.rank, kShape.rank + kShape.rope)));
}

}  // namespace
}  // namespace latent8
