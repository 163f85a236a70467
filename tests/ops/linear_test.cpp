#include "ops/linear.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/ref/linear_ref.h"
#include "support/linears.h"
#include "support/panel_table.h"

namespace latent8 {
namespace {

std::vector<float> run(const KernelTable& table, int threads, const Linear& w, ConstMat<float> x) {
  ThreadPool pool(threads);
  OpContext ctx(pool, table);
  Matrix<float> out(x.rows, w.out_features);
  linear(ctx, w, x, out.view());
  return values_of(out.view());
}

TEST(Linear, OfFloatWeightsIsTheReferencesProductAndBias) {
  for (const Stored stored : {Stored::kF32, Stored::kBf16, Stored::kF8}) {
    const OwnedLinear w(stored, 150, 260, 1);
    const Matrix<float> x = normal_matrix(9, 260, 2);
    const RealMatrix want = gemm_f32_ref({x.row(0), w.linear.weight, nullptr, 9, 150, 260, 260, 260, 150,
                                          w.linear.type, w.linear.block_scale, w.linear.block_scale_stride, 0});

    const std::vector<float> got = run(kernels(), 2, w.linear, x.view());

    for (std::size_t i = 0; i < got.size(); ++i) {
      const double bias = w.linear.bias == nullptr ? 0.0 : w.linear.bias[i % 150];
      ASSERT_NEAR(got[i], want.value[i] + bias, sum_bound(261, want.magnitude[i] + std::fabs(bias)));
    }
  }
}

TEST(Linear, OfInt8WeightsIsTheReferencesProductOfCodes) {
  for (const Stored stored : {Stored::kStatic, Stored::kDynamic}) {
    const OwnedLinear w(stored, 150, 260, 1);
    const Matrix<float> x = normal_matrix(9, 260, 2);
    const bool fixed = stored == Stored::kStatic;
    const QuantizedRef q = fixed ? quantize_static_ref(x.row(0), 9, 260, 260, 0.03F, 3.0F)
                                 : quantize_dynamic_ref(x.row(0), 9, 260, 260);
    const GemmS8RefArgs args{q.q.data(), static_cast<const std::int8_t*>(w.linear.weight), 9, 150, 260,
                             fixed ? nullptr : q.scale.data(), w.linear.scale, w.linear.quant_bias};

    EXPECT_EQ(run(kernels(), 2, w.linear, x.view()), gemm_s8_ref(args));
  }
}

TEST(Linear, HasTheSameBitsForEveryNumberOfThreadsAndRows) {
  const KernelTable panels = panel_table();
  for (const KernelTable* table : {&kernels(), &panels})
    for (const Stored stored : kStored) {
      const OwnedLinear w(stored, 133, 70, 1);
      const Matrix<float> x = normal_matrix(70, 70, 2);
      const std::vector<float> all = run(*table, 1, w.linear, x.view());

      EXPECT_EQ(run(*table, 3, w.linear, x.view()), all);
      std::vector<float> chunks;
      for (const auto& [begin, end] : {std::pair{0, 1}, {1, 18}, {18, 35}, {35, 70}}) {
        const std::vector<float> chunk = run(*table, 2, w.linear, x.view().row_range(begin, end));
        chunks.insert(chunks.end(), chunk.begin(), chunk.end());
      }
      EXPECT_EQ(chunks, all);
    }
}

TEST(Linear, LooksAtNoCodesItself) {
  const KernelTable panels = panel_table();
  for (const Stored stored : {Stored::kStatic, Stored::kDynamic})
    for (const std::int64_t m : {1, 17, 70}) {
      const OwnedLinear w(stored, 133, 70, 1);
      const Matrix<float> x = normal_matrix(m, 70, 2);

      EXPECT_EQ(run(panels, 3, w.linear, x.view()), run(find_table("scalar"), 1, w.linear, x.view()));
    }
}

TEST(LinearPair, IsTwoLinearsWhateverTheirKinds) {
  ThreadPool pool(3);
  const KernelTable panels = panel_table();
  OpContext ctx(pool, panels);
  const Matrix<float> x = normal_matrix(20, 70, 2);
  for (const Stored first : kStored)
    for (const Stored second : kStored) {
      OwnedLinear a(first, 100, 70, 1), b(second, 37, 70, 5);
      b.linear.input_scale = 0.05F;  // codes of its own
      Matrix<float> out_a(20, 100), out_b(20, 37);

      linear_pair(ctx, a.linear, b.linear, x.view(), out_a.view(), out_b.view());

      EXPECT_EQ(values_of(out_a.view()), run(panels, 1, a.linear, x.view()));
      EXPECT_EQ(values_of(out_b.view()), run(panels, 1, b.linear, x.view()));
    }
}

TEST(Linear, EmbedsRowsOfTheTable) {
  ThreadPool pool(2);
  OpContext ctx(pool);
  const OwnedLinear table(Stored::kF32, 50, 24, 1);
  const std::vector<std::int32_t> ids{49, 0, 7, 7, 3, 20, 21, 22, 23, 24, 25};
  Matrix<float> out(11, 24);

  embed_rows(ctx, table.linear, ids, out.view());

  for (std::size_t t = 0; t < ids.size(); ++t)
    for (std::int64_t c = 0; c < 24; ++c)
      ASSERT_EQ(out.row(static_cast<std::int64_t>(t))[c],
                static_cast<const float*>(table.linear.weight)[ids[t] * 24 + c]);
}

// Two heads keep many threads busy only if a head is cut, over rows or columns; bits stay. An fp8 weight's scales
// change at columns 128, 256, ...
TEST(PerHeadLinear, HasTheSameBitsHoweverTheHeadsAreCut) {
  constexpr std::int64_t kHeads = 2, kNope = 48, kV = 128, kRank = 320;
  for (const Stored stored : {Stored::kF32, Stored::kBf16, Stored::kF8}) {
    const OwnedLinear kv_b(stored, kHeads * (kNope + kV), kRank, 1);
    const HeadWeights w_uk{kHeads, kNope, kRank, 0, kNope + kV, kv_b.linear};
    const HeadWeights w_uv{kHeads, kV, kRank, kNope, kNope + kV, kv_b.linear};
    for (const std::int64_t m : {1, 7, 150}) {
      const Matrix<float> q = normal_matrix(m, kHeads * (kNope + 16), 2), o = normal_matrix(m, kHeads * kRank, 3);
      std::vector<std::vector<float>> absorbed, expanded;
      for (const int threads : {1, 5, 16}) {
        ThreadPool pool(threads);
        OpContext ctx(pool);
        Matrix<float> a(m, kHeads * kRank), e(m, kHeads * kV);
        per_head_linear_transposed(ctx, w_uk, q.view(), kNope + 16, a.view());
        per_head_linear(ctx, w_uv, o.view(), e.view());
        absorbed.push_back(values_of(a.view()));
        expanded.push_back(values_of(e.view()));
      }
      EXPECT_EQ(absorbed[1], absorbed[0]);
      EXPECT_EQ(absorbed[2], absorbed[0]);
      EXPECT_EQ(expanded[1], expanded[0]);
      EXPECT_EQ(expanded[2], expanded[0]);
      // Head 1 by the single-threaded reference of its part of the weight.
      const RealMatrix want =
          gemm_nn_f32_ref({q.row(0) + kNope + 16, static_cast<const std::byte*>(kv_b.linear.weight) +
                                                      (kNope + kV) * kRank * size_of(dtype_of(kv_b.linear.type)),
                           nullptr, m, kRank, kNope, q.cols(), kRank, kRank, kv_b.linear.type,
                           kv_b.linear.block_scale, kv_b.linear.block_scale_stride, kNope + kV});
      for (std::int64_t t = 0; t < m; ++t)
        for (std::int64_t c = 0; c < kRank; ++c) {
          const auto i = static_cast<std::size_t>(t * kRank + c);
          ASSERT_NEAR(absorbed[0][static_cast<std::size_t>(t * kHeads * kRank + kRank + c)], want.value[i],
                      sum_bound(kNope, want.magnitude[i]));
        }
    }
  }
}

}  // namespace
}  // namespace latent8
