#include "quant/weights/smoothing.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "latent8/verify.h"
#include "quant/plan/plan.h"
#include "quant/quantize_fixture.h"
#include "source/source_reader.h"
#include "source/source_tensor.h"
#include "support/kernels.h"
#include "support/small_model.h"

namespace latent8 {
namespace {

constexpr std::int64_t kSmoothedTokens = 64, kSmoothedRows = 48, kChannels = 32;

Matrix<float> normal_matrix(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  Matrix<float> out(rows, cols);
  const std::vector<float> values = normal_floats(rows * cols, seed);
  std::copy(values.begin(), values.end(), out.row(0));
  return out;
}

void scale_column(Matrix<float>& m, std::int64_t column, float factor) {
  for (std::int64_t r = 0; r < m.rows(); ++r) m.row(r)[column] *= factor;
}

class ChooseSmoothing : public testing::TestWithParam<bool> {
 protected:
  Smoothing choose() { return choose_smoothing(ctx_, x_.view(), w_.view(), {GetParam(), DType::kBf16}); }

  ThreadPool pool_{2};
  OpContext ctx_{pool_};
  Matrix<float> x_ = normal_matrix(kSmoothedTokens, kChannels, 1),
                w_ = normal_matrix(kSmoothedRows, kChannels, 2);
};

TEST_P(ChooseSmoothing, MovesALargeChannelIntoTheWeightsByPowersOfTwo) {
  scale_column(x_, 5, 64.0F);
  scale_column(w_, 5, 1.0F / 64.0F);
  const Smoothing s = choose();
  ASSERT_EQ(s.scale.size(), static_cast<std::size_t>(kChannels));
  EXPECT_LT(s.error, 0.2);
  EXPECT_GE(s.scale[5] / s.scale[4], 8.0F);
  for (const float scale : s.scale) EXPECT_EQ(std::exp2(std::nearbyint(std::log2(scale))), scale);
}

TEST_P(ChooseSmoothing, LeavesChannelsOfOneSizeAlone) {
  const Smoothing s = choose();
  EXPECT_TRUE(s.scale.empty());
  EXPECT_EQ(s.error, 1.0);
}

TEST_P(ChooseSmoothing, NeverTakesAWorseScaleThanNone) {
  for (std::uint64_t seed = 10; seed < 20; ++seed) {
    x_ = normal_matrix(kSmoothedTokens, kChannels, seed);
    w_ = normal_matrix(kSmoothedRows, kChannels, seed + 100);
    for (std::int64_t c = 0; c < kChannels; c += 3)
      scale_column(seed % 2 == 0 ? x_ : w_, c, static_cast<float>(seed - 9));
    EXPECT_LE(choose().error, 1.0);
  }
}

TEST_P(ChooseSmoothing, TakesChannelsThatAreAlwaysZero) {
  scale_column(x_, 3, 0.0F);
  scale_column(w_, 7, 0.0F);
  scale_column(x_, 5, 64.0F);
  for (const float scale : choose().scale) EXPECT_TRUE(std::isnormal(scale)) << scale;
  for (std::int64_t c = 0; c < kChannels; ++c) scale_column(x_, c, 0.0F);
  EXPECT_TRUE(choose().scale.empty());
}

TEST_P(ChooseSmoothing, TakesNoTokens) {
  x_ = Matrix<float>(0, kChannels);
  EXPECT_TRUE(choose().scale.empty());
}
INSTANTIATE_TEST_SUITE_P(Inputs, ChooseSmoothing, testing::Bool(),
                         [](const auto& test) { return test.param ? "Dynamic" : "Static"; });

// One layer's attention, whose inputs are uneven.
class SmoothAttention : public testing::TestWithParam<const char*> {
 protected:
  static constexpr std::int64_t kLayer = 1;

  SmoothAttention() {
    QuantizeOptions options;
    options.fallback = QuantizeOptions::Fallback::kNone;
    plan_ = plan_checkpoint(source_, options);
    std::vector<std::string> names;
    for (const PlannedModule& module : plan_.units[1 + kLayer].modules) {
      if (module.part != PlannedModule::Part::kAttention) continue;
      attention_.push_back(&module);
      for (const std::string& name : source_names(source_, module)) names.push_back(name);
    }
    working_.read(reader_, names);
    const float uneven = 1.0F / 32.0F;
    const std::string norm = fmt::format("model.layers.{}.input_layernorm.weight", kLayer);
    Matrix<float> large = working_.values(norm);  // where the columns that read it are small
    for (std::int64_t c = 0; c < large.cols() * large.rows(); c += 7) large.row(0)[c] /= uneven;
    working_.replace(norm, {large.row(0), static_cast<std::size_t>(large.rows() * large.cols())});
    for (const char* reader : {"q_proj", "q_a_proj", "kv_a_proj_with_mqa"}) change_columns(reader, uneven);
    change_columns("q_b_proj", uneven);
    change_columns("o_proj", uneven);
    const std::vector<float> values = normal_floats(x_.rows() * x_.cols(), 7);
    for (std::int64_t t = 0; t < x_.rows(); ++t) x_.write_row(t, values.data() + t * x_.cols());
  }

  // Every seventh column of a linear.
  void change_columns(const std::string& linear, float factor) {
    const std::string name = fmt::format("model.layers.{}.self_attn.{}.weight", kLayer, linear);
    if (!working_.has(name)) return;
    Matrix<float> values = working_.values(name);
    for (std::int64_t c = 0; c < values.cols(); c += 7) scale_column(values, c, factor);
    working_.replace(name, {values.row(0), static_cast<std::size_t>(values.rows() * values.cols())});
  }

  // The residual stream behind attention.
  std::vector<float> run(AttentionActivations& activations) {
    ActivationStore next = ActivationStore::in_memory(x_.rows(), x_.cols());
    const Checkpoint tensors = working_.checkpoint();
    WeightStorage storage;
    LayerWeights weights;
    load_attention_half(tensors, kLayer, {}, storage, weights);
    EXPECT_TRUE(run_attention(run_, weights, x_, next, activations));
    std::vector<float> out(static_cast<std::size_t>(next.rows() * next.cols()));
    next.read(0, {out.data(), next.rows(), next.cols()});
    return out;
  }

  std::vector<float> inputs(const AttentionActivations& activations) {
    std::vector<float> out;
    activations.for_each_step([&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t>) {
      for (const Matrix<float>* m : {&s.h, &s.c_q, &s.o})
        out.insert(out.end(), m->row(0), m->row(0) + step.tokens() * m->cols());
    });
    return out;
  }

  std::vector<LayerReport::Smoothed> smooth(QuantizeOptions::Anti anti, AttentionActivations& activations) {
    return smooth_attention(working_, kLayer, attention_, anti, {false, DType::kBf16}, activations);
  }

  TempDir dir_;
  const Checkpoint source_ = Checkpoint::open(small_model(GetParam()));
  const SourceReader reader_{source_};
  ThreadPool pool_{2};
  CheckpointPlan plan_;
  std::vector<const PlannedModule*> attention_;
  WorkingLayer working_{source_.config()};
  std::vector<CalibrationPrompt> prompts_{
      {std::vector<std::int32_t>(24, 3), std::vector<std::uint8_t>(24, 1)},
      {std::vector<std::int32_t>(9, 5), std::vector<std::uint8_t>(9, 1)}};
  CalibrationRun run_{source_.config(), pool_, prompts_, 24};
  MemoryBudget budget_{1 << 30};
  ActivationStore x_ = ActivationStore::in_memory(33, source_.config().hidden_size);
};

TEST_P(SmoothAttention, KeepsTheFunctionToTheBit) {
  AttentionActivations activations(run_, false, budget_, dir_.path());
  const std::vector<float> before = run(activations);
  const std::vector<float> inputs_before = inputs(activations);

  const auto smoothed = smooth(QuantizeOptions::Anti::kM6, activations);

  const bool q_lora = source_.config().q_lora_rank.has_value();
  ASSERT_EQ(smoothed.size(), q_lora ? 3U : 2U);
  EXPECT_EQ(smoothed.front().source, "input_layernorm");
  EXPECT_EQ(smoothed.back().source, "kv_b_proj");
  for (const auto& s : smoothed) EXPECT_LT(s.error, 1.0);
  EXPECT_NE(inputs(activations), inputs_before);
  AttentionActivations again(run_, false, budget_, dir_.path());
  EXPECT_EQ(run(again), before);
  EXPECT_EQ(inputs(activations), inputs(again));  // what statistics are taken of is what the weights make
}

TEST_P(SmoothAttention, M4TouchesTheHiddenStateAlone) {
  AttentionActivations activations(run_, false, budget_, dir_.path());
  run(activations);
  const auto smoothed = smooth(QuantizeOptions::Anti::kM4, activations);
  ASSERT_EQ(smoothed.size(), 1U);
  EXPECT_EQ(smoothed[0].source, "input_layernorm");
}

TEST_P(SmoothAttention, NoneTouchesNothing) {
  AttentionActivations activations(run_, false, budget_, dir_.path());
  run(activations);
  const std::vector<float> before = inputs(activations);
  EXPECT_TRUE(smooth(QuantizeOptions::Anti::kNone, activations).empty());
  EXPECT_EQ(inputs(activations), before);
}

class SmoothIndexer : public SmoothAttention {
 protected:
  // What a float linear of the indexer makes of its norm's channels.
  std::vector<float> behind_norm(const std::string& norm, const std::string& linear) const {
    const std::string layer = fmt::format("model.layers.{}.", kLayer);
    const Matrix<float> gamma = working_.values(layer + norm + ".weight"),
                        w = working_.values(layer + "self_attn.indexer." + linear + ".weight");
    std::vector<float> out;
    for (std::int64_t r = 0; r < w.rows(); ++r)
      for (std::int64_t c = 0; c < w.cols(); ++c) out.push_back(w.row(r)[c] * gamma.row(0)[c]);
    return out;
  }
};

TEST_P(SmoothIndexer, FloatReadersOfANormTakeItsScaleToo) {
  const std::array<std::pair<const char*, const char*>, 3> all{
      {{"input_layernorm", "wk"}, {"input_layernorm", "weights_proj"}, {"self_attn.q_a_layernorm", "wq_b"}}};
  std::vector<std::vector<float>> before;
  for (const auto& [norm, linear] : all) before.push_back(behind_norm(norm, linear));
  AttentionActivations activations(run_, false, budget_, dir_.path());
  run(activations);

  ASSERT_EQ(smooth(QuantizeOptions::Anti::kM6, activations).size(), 3U);

  for (std::size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(behind_norm(all[i].first, all[i].second), before[i]) << all[i].second;
}

INSTANTIATE_TEST_SUITE_P(Models, SmoothIndexer, testing::Values("v32-small"),
                         [](const auto&) { return "V32"; });
INSTANTIATE_TEST_SUITE_P(Models, SmoothAttention, testing::Values("v3-fp8-small", "v2-lite-small"),
                         [](const auto& test) {
                           return std::string(test.param) == "v2-lite-small" ? "WithoutQLora" : "WithQLora";
                         });

std::vector<float> vector_of(const Checkpoint& checkpoint, const std::string& name) {
  const SourceTensor tensor(checkpoint, name);
  std::vector<float> values(static_cast<std::size_t>(tensor.cols()));
  tensor.read_row(0, values.data());
  return values;
}

TEST_F(QuantizeTest, ASmoothedNormIsTheSourcesTimesPowersOfTwo) {
  const Checkpoint stored = quantized(options()), original = Checkpoint::open(kTinyR1);
  int smoothed = 0;
  for (const LayerReport& layer : result_.per_layer) {
    const std::string name = fmt::format("model.layers.{}.input_layernorm.weight", layer.layer);
    const std::vector<float> a = vector_of(stored, name), b = vector_of(original, name);
    EXPECT_EQ(a == b, layer.smoothed.empty());
    for (std::size_t c = 0; c < a.size(); ++c) {
      const float scale = b[c] / a[c];
      ASSERT_EQ(std::exp2(std::nearbyint(std::log2(scale))), scale) << name << " " << c;
    }
    smoothed += layer.smoothed.empty() ? 0 : 1;
  }
  EXPECT_GT(smoothed, 0);
}

TEST_F(QuantizeTest, WithoutSmoothingNormsStayAsTheyAre) {
  QuantizeOptions o = options();
  o.anti = QuantizeOptions::Anti::kNone;
  const Checkpoint stored = quantized(o), original = Checkpoint::open(kTinyR1);
  for (const LayerReport& layer : result_.per_layer) {
    const std::string name = fmt::format("model.layers.{}.input_layernorm.weight", layer.layer);
    EXPECT_EQ(vector_of(stored, name), vector_of(original, name));
    EXPECT_TRUE(layer.smoothed.empty());
  }
}

TEST_F(QuantizeTest, SmoothedLayersHaveTheirSourcesWeights) {
  QuantizeOptions o = options();
  o.anti = QuantizeOptions::Anti::kM6;
  quantized(o);
  const VerifyResult r = verify({o.out, kTinyR1, 1, {}});
  EXPECT_TRUE(r.problems.empty()) << to_string(r.problems.front());
}

}  // namespace
}  // namespace latent8
