#include "ops/grouped_mlp.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "support/linears.h"
#include "support/panel_table.h"

namespace latent8 {
namespace {

constexpr std::int64_t kHidden = 70, kIntermediate = 37;
constexpr std::size_t kExperts = 6;

// Experts whose gate, up and down are stored as `stored` says, one row per expert (the last one is repeated).
struct Experts {
  using Kinds = std::array<Stored, 3>;
  explicit Experts(const std::vector<Kinds>& stored) {
    for (std::size_t e = 0; e < kExperts; ++e) {
      const Kinds kinds = stored[std::min(e, stored.size() - 1)];
      owned.emplace_back(kinds[0], kIntermediate, kHidden, 10 * e + 1);
      owned.emplace_back(kinds[1], kIntermediate, kHidden, 10 * e + 4);
      owned.emplace_back(kinds[2], kHidden, kIntermediate, 10 * e + 7);
      for (std::size_t i = owned.size() - 3; i < owned.size(); ++i)
        owned[i].linear.input_scale = 0.02F + 0.01F * static_cast<float>(i % 4);
    }
    for (std::size_t e = 0; e < kExperts; ++e)
      mlps.push_back({owned[3 * e].linear, owned[3 * e + 1].linear, owned[3 * e + 2].linear});
  }
  std::vector<OwnedLinear> owned;
  std::vector<GatedMlp> mlps;
};

// Expert 4 gets no token.
Routing random_routing(std::int64_t tokens) {
  Routing routing;
  routing.top_k = 2;
  Rng rng(5);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto first = static_cast<std::int32_t>(rng.below(4));
    for (const std::int32_t e : {first, t % 3 == 0 ? 5 : (first + 1) % 4}) {
      routing.expert.push_back(e);
      routing.weight.push_back(0.5F + rng.normal() * 0.1F);
    }
  }
  return routing;
}

std::vector<float> run(const KernelTable& table, int threads, const Experts& experts, std::int64_t tokens,
                       bool with_shared = false) {
  ThreadPool pool(threads);
  OpContext ctx(pool, table);
  GroupedMlpScratch scratch;
  const Matrix<float> x = normal_matrix(tokens, kHidden, 99), shared = normal_matrix(tokens, kHidden, 98);
  Matrix<float> out(tokens, kHidden);
  std::optional<ConstMat<float>> plus;
  if (with_shared) plus = shared.view();
  grouped_mlp(ctx, experts.mlps, random_routing(tokens), x.view(), plus, scratch, out.view());
  return values_of(out.view());
}

// Token by token: what the operation is defined as.
std::vector<float> one_by_one(const KernelTable& table, const Experts& experts, std::int64_t tokens,
                              bool with_shared = false) {
  ThreadPool pool(1);
  OpContext ctx(pool, table);
  GroupedMlpScratch scratch;
  const Matrix<float> x = normal_matrix(tokens, kHidden, 99), shared = normal_matrix(tokens, kHidden, 98);
  const Routing routing = random_routing(tokens);
  Matrix<float> out(tokens, kHidden), one(1, kHidden);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t i = t * routing.top_k; i < (t + 1) * routing.top_k; ++i) {
      const auto slot = static_cast<std::size_t>(i);
      const auto& mlp = experts.mlps[static_cast<std::size_t>(routing.expert[slot])];
      gated_mlp(ctx, mlp, x.view().row_range(t, t + 1), scratch, one.view());
      for (std::int64_t c = 0; c < kHidden; ++c) out.row(t)[c] += routing.weight[slot] * one.row(0)[c];
    }
    for (std::int64_t c = 0; with_shared && c < kHidden; ++c) out.row(t)[c] += shared.row(t)[c];
  }
  return values_of(out.view());
}

// Compiled twice, weight * x + y may be fused here and not there.
void expect_near(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 2e-5F * (1.0F + std::abs(want[i]))) << i;
}

TEST(GroupedMlp, IsTheWeightedSumOfItsExpertsInEveryKind) {
  for (const Stored stored : kStored) {
    const Experts experts({{stored, stored, stored}});
    for (const std::int64_t tokens : {1, 3, 40}) {
      expect_near(run(kernels(), 2, experts, tokens), one_by_one(kernels(), experts, tokens));
      expect_near(run(kernels(), 2, experts, tokens, true), one_by_one(kernels(), experts, tokens, true));
    }
  }
}

TEST(GroupedMlp, TakesExpertsAndPartsOfDifferentKinds) {
  using S = Stored;
  const Experts experts({{S::kDynamic, S::kDynamic, S::kDynamic},
                         {S::kBf16, S::kBf16, S::kBf16},     // a FLOAT expert among int8 ones
                         {S::kF32, S::kDynamic, S::kF8},     // a float gate_proj beside an int8 up_proj
                         {S::kDynamic, S::kStatic, S::kF32},  // two kinds of codes of one input
                         {S::kF32, S::kF32, S::kF32},
                         {S::kStatic, S::kBf16, S::kDynamic}});
  const KernelTable panels = panel_table();
  for (const KernelTable* table : {&kernels(), &panels})
    for (const std::int64_t tokens : {1, 3, 40})
      expect_near(run(*table, 2, experts, tokens), one_by_one(*table, experts, tokens));
}

TEST(GroupedMlp, TakesAFloatFirstExpertAmongInt8Ones) {
  using S = Stored;
  const Experts experts({{S::kBf16, S::kBf16, S::kBf16}, {S::kDynamic, S::kDynamic, S::kDynamic}});

  expect_near(run(kernels(), 1, experts, 12), one_by_one(kernels(), experts, 12));
}

TEST(GroupedMlp, HasTheSameBitsForEveryNumberOfThreads) {
  using S = Stored;
  const KernelTable panels = panel_table();
  for (const KernelTable* table : {&kernels(), &panels}) {
    const Experts experts({{S::kDynamic, S::kDynamic, S::kDynamic}, {S::kF32, S::kStatic, S::kBf16}});
    const std::vector<float> one = run(*table, 1, experts, 50, true);

    EXPECT_EQ(run(*table, 2, experts, 50, true), one);
    EXPECT_EQ(run(*table, 7, experts, 50, true), one);
  }
}

TEST(GroupedMlp, LooksAtNoCodesItself) {
  using S = Stored;
  const Experts experts({{S::kDynamic, S::kDynamic, S::kDynamic}, {S::kStatic, S::kDynamic, S::kStatic}});
  for (const std::int64_t tokens : {1, 33, 50})
    EXPECT_EQ(run(panel_table(), 3, experts, tokens), run(find_table("scalar"), 1, experts, tokens));
}

// A MoE layer with shared experts of another width: both go through one scratch, large step or small.
TEST(GroupedMlp, KeepsItsMemoryWhenRoutedAndSharedExpertsTakeTurns) {
  ThreadPool pool(1);
  OpContext ctx(pool);
  GroupedMlpScratch scratch;
  using S = Stored;
  const Experts experts({{S::kF32, S::kF32, S::kF32}});
  const OwnedLinear gate(S::kF32, 2 * kIntermediate, kHidden, 1), up(S::kF32, 2 * kIntermediate, kHidden, 2),
      down(S::kF32, kHidden, 2 * kIntermediate, 3);
  const GatedMlp shared{gate.linear, up.linear, down.linear};
  const auto layer = [&](std::int64_t tokens) {
    const Matrix<float> x = normal_matrix(tokens, kHidden, 99);
    Matrix<float> out(tokens, kHidden);
    grouped_mlp(ctx, experts.mlps, random_routing(tokens), x.view(), {}, scratch, out.view());
    gated_mlp(ctx, shared, x.view(), scratch, out.view());
  };
  const auto memory = [&] {
    return std::array{scratch.gate.view().data, scratch.up.view().data, scratch.out.view().data,
                      scratch.gathered.view().data};
  };
  layer(64);
  const auto first = memory();

  for (const std::int64_t tokens : {64, 1, 7, 64, 1}) {
    layer(tokens);
    EXPECT_EQ(memory(), first) << tokens;
  }
}

// A batch that grows by one sequence at a time must not allocate at each step.
TEST(GroupedMlp, AllocatesRarelyWhileABatchGrows) {
  WorkMatrix m;
  std::int64_t capacity = 0, allocations = 0;
  for (std::int64_t rows = 1; rows <= 512; ++rows) {
    m.reshape(rows, 100);
    if (m.capacity() != capacity) ++allocations;
    capacity = m.capacity();
  }

  EXPECT_LE(allocations, 10);
}

}  // namespace
}  // namespace latent8
