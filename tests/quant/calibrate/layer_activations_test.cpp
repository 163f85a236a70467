#include "quant/calibrate/layer_activations.h"

#include <gtest/gtest.h>

#include "support/kernels.h"
#include "support/model_runner.h"
#include "support/small_model.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

// An MoE layer in the pieces in which the quantiser runs it.
class LayerInPieces : public testing::TestWithParam<const char*> {
 protected:
  static constexpr std::int64_t kLayer = 1, kTokens = 33;

  LayerInPieces() {
    const std::vector<float> values = normal_floats(kTokens * x_.cols(), 7);
    for (std::int64_t t = 0; t < kTokens; ++t) x_.write_row(t, values.data() + t * x_.cols());
  }

  ActivationStore store() const { return ActivationStore::in_memory(kTokens, source_.config().hidden_size); }

  Matrix<float> in_pieces() {
    ActivationStore next = store();
    AttentionActivations attention(run_, false, budget_, dir_.path());
    EXPECT_TRUE(run_attention(run_, weights_, x_, next, attention));
    MlpActivations input{store(), {}, {}};
    if (weights_.post_mlp_layernorm) input.sum.emplace(store());
    run_common_mlp(run_, weights_, next, input, [](const auto&, auto, auto) {});
    for (std::int64_t e = 0; e < source_.config().n_routed_experts; ++e)
      run_expert(run_, weights_.moe->experts[static_cast<std::size_t>(e)], e, input, next);
    if (input.sum) add_normed_sum(run_, weights_, *input.sum, next);
    Matrix<float> out(kTokens, next.cols());
    next.read(0, out.view());
    return out;
  }

  Matrix<float> at_once() {
    const DecoderLayer layer(run_.config(), weights_, run_.rope());
    Matrix<float> out(kTokens, x_.cols());
    x_.read(0, out.view());
    for (const CalibrationStep& step : run_.steps())
      layer.forward(run_.ctx(), step.batch, {Numerics::kNative, Prefill::kFloat}, run_.pages(),
                    run_.scratch(), out.view().row_range(step.begin, step.begin + step.tokens()));
    return out;
  }

  TempDir dir_;
  const Checkpoint source_ = Checkpoint::open(small_model(GetParam()));
  ThreadPool pool_{2};
  std::vector<CalibrationPrompt> prompts_{
      {std::vector<std::int32_t>(24, 3), std::vector<std::uint8_t>(24, 1)},
      {std::vector<std::int32_t>(9, 5), std::vector<std::uint8_t>(9, 1)}};
  CalibrationRun run_{source_.config(), pool_, prompts_, 24};
  MemoryBudget budget_{1 << 30};
  WeightStorage storage_;
  const LayerWeights weights_ = load_layer(source_, kLayer, {}, storage_);
  ActivationStore x_ = store();
};

TEST_P(LayerInPieces, AddsToTheResidualStreamWhatTheModelDoes) {
  EXPECT_LT(largest_difference(in_pieces().view(), at_once().view()), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Models, LayerInPieces, testing::Values("v2-lite-small", "axk1-small"),
                         [](const auto& test) {
                           return std::string(test.param) == "axk1-small" ? "NormBehindExperts" : "Usual";
                         });

}  // namespace
}  // namespace latent8
