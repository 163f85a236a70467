// What may not change a bit: how a prompt is cut, who shares the step, threads, block size, where pages lie.

#include <gtest/gtest.h>

#include "kernels/kernel_table.h"
#include "support/model_runner.h"

namespace latent8 {
namespace {

// A float checkpoint (bf16), and one with W8A8 weights and an int8 cache.
class Equalities : public testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() { models().clear(); }
  const DeepseekModel& model() {
    auto& slot = models()[GetParam()];
    if (!slot) slot = load_model(source_path(GetParam()));
    return *slot;
  }
  std::vector<std::int32_t> prompt(std::int64_t count, std::uint64_t seed = 1) {
    return random_ids(count, model().config().vocab_size, seed);
  }
  Matrix<float> run(const std::vector<std::int32_t>& ids, const RunOptions& options = {}) {
    return std::move(run_logits(model(), {ids}, options)[0]);
  }

 private:
  static std::map<std::string, std::shared_ptr<const DeepseekModel>>& models() {
    static std::map<std::string, std::shared_ptr<const DeepseekModel>> cache;
    return cache;
  }
};

TEST_P(Equalities, AnyChunkingEqualsOnePrefillAndTokenByToken) {
  const auto ids = prompt(301);
  const Matrix<float> whole = run(ids);

  for (const std::int64_t chunk : {1, 7, 16, 128, 200})
    EXPECT_TRUE(bit_equal(run(ids, {.chunk = chunk}), whole)) << "chunk " << chunk;
}

TEST_P(Equalities, HalfPrecisionFloatCachesKeepThePropertyToo) {
  const auto ids = prompt(150);
  const Matrix<float> whole = run(ids, {.float_cache = CacheType::kF16});

  for (const std::int64_t chunk : {1, 33})
    EXPECT_TRUE(bit_equal(run(ids, {.chunk = chunk, .float_cache = CacheType::kF16}), whole))
        << "chunk " << chunk;
}

TEST_P(Equalities, TheOtherSequencesOfAStepChangeNothing) {
  const std::vector<std::vector<std::int32_t>> batch{prompt(40, 2), prompt(301), prompt(3, 3),
                                                     prompt(129, 4)};
  const Matrix<float> alone = run(batch[1], {.chunk = 64});

  const auto together = run_logits(model(), batch, {.chunk = 64});

  EXPECT_TRUE(bit_equal(together[1], alone));
  EXPECT_TRUE(bit_equal(together[3], run(batch[3])));
}

TEST_P(Equalities, ThreadsChangeNothing) {
  const auto ids = prompt(200);
  const Matrix<float> one = run(ids, {.threads = 1});

  for (const int threads : {2, 3, 5}) EXPECT_TRUE(bit_equal(run(ids, {.threads = threads}), one)) << threads;
}

TEST_P(Equalities, BlockSizeAndPagePlacementChangeNothing) {
  const auto ids = prompt(300);
  const Matrix<float> plain = run(ids);

  for (const std::int64_t block_size : {16, 48, 112})
    EXPECT_TRUE(bit_equal(run(ids, {.block_size = block_size, .skip_blocks = 5}), plain)) << block_size;
}

// More keys than one run of 4,096: partial results are merged, by one thread or by several.
TEST_P(Equalities, LongContextsMergeTheSameWayForAnyThreadsAndChunks) {
  const auto ids = prompt(4300);
  const Matrix<float> one = run(ids, {.threads = 1, .chunk = 2048});

  EXPECT_TRUE(bit_equal(run(ids, {.threads = 3, .chunk = 1000}), one));
}

TEST_P(Equalities, EveryKernelTableAgreesWithinRounding) {
  const auto ids = prompt(60);
  const Matrix<float> scalar = run(ids, {.isa = "scalar"});

  for (const KernelTable* table : all_tables()) {
    if (!is_supported(*table)) continue;
    // Codes of int8 checkpoints may fall on the other side of a rounding boundary: a step of the weights'
    // scale.
    const bool int8 = model().weights().layers[0].attention.fa.has_value();
    EXPECT_LT(largest_difference(run(ids, {.isa = table->name}).view(), scalar.view()), int8 ? 0.5 : 2e-4)
        << table->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Equalities,
                         testing::Values("models/tiny-r1",
                                         "tests/data/golden/msmodelslim/a_mindie_m4_static"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           return std::string(info.param).starts_with("models") ? "float" : "int8";
                         });

}  // namespace
}  // namespace latent8
