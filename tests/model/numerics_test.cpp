// The two numerics of int8 layers, and the forms of prefill, on a checkpoint that msModelSlim wrote.

#include <gtest/gtest.h>

#include "support/model_runner.h"

namespace latent8 {
namespace {

constexpr const char* kGoldenInt8 = "tests/data/golden/msmodelslim/a_mindie_m4_static";

class NumericsTest : public testing::Test {
 protected:
  std::shared_ptr<const DeepseekModel> model_ = load_model(source_path(kGoldenInt8));
  std::vector<std::int32_t> ids_ = random_ids(200, model_->config().vocab_size, 7);
  Matrix<float> run(const RunOptions& options) { return std::move(run_logits(*model_, {ids_}, options)[0]); }
};

// Mean absolute difference of logits, as a share of their spread.
double relative(const Matrix<float>& a, const Matrix<float>& b) {
  double difference = 0, magnitude = 0;
  for (std::int64_t r = 0; r < a.rows(); ++r)
    for (std::int64_t c = 0; c < a.cols(); ++c) {
      difference += std::fabs(a.row(r)[c] - b.row(r)[c]);
      magnitude += std::fabs(b.row(r)[c]);
    }
  return difference / magnitude;
}

TEST_F(NumericsTest, FloatPrefillIsCloseToInt8Prefill) {
  const Matrix<float> cached = run({}), floating = run({.attention = {.prefill = Prefill::kFloat}});

  const double distance = relative(floating, cached);

  EXPECT_GT(distance, 0.0);
  EXPECT_LT(distance, 0.02);
}

TEST_F(NumericsTest, AscendDecodeIsCloseToNativeDecode) {
  const Matrix<float> native = run({.chunk = 1, .prompt = false});
  const Matrix<float> ascend =
      run({.chunk = 1, .prompt = false, .attention = {.numerics = Numerics::kAscend}});

  const double distance = relative(ascend, native);

  EXPECT_GT(distance, 0.0);
  EXPECT_LT(distance, 0.03);
}

TEST_F(NumericsTest, AscendPrefillAttendsInFloat) {
  const Matrix<float> ascend = run({.attention = {.numerics = Numerics::kAscend}});

  EXPECT_TRUE(bit_equal(ascend, run({.attention = {.prefill = Prefill::kFloat}})));
}

}  // namespace
}  // namespace latent8
