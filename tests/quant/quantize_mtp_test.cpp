#include <gmock/gmock.h>

#include <cmath>

#include "model/deepseek_model.h"
#include "quant/calibrate/calibration.h"
#include "quant/quantize_fixture.h"
#include "support/model_runner.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using Mtp = QuantizeOptions::Mtp;

class QuantizeMtp : public QuantizeTest {
 protected:
  QuantizeOptions with_mtp(Mtp mtp) {
    QuantizeOptions o = options();
    o.mtp = mtp;
    return o;
  }
  std::shared_ptr<const DeepseekModel> quantized_model(const QuantizeOptions& o) {
    result_ = quantize(o);
    return load_model(o.out);
  }
};

constexpr const char* kText =
    "A tokenizer splits text into pieces that a model knows by number. Frequent words become one piece, rare "
    "ones "
    "several, so that nothing is unknown. The model predicts the next piece from all before it.";

std::vector<std::int32_t> ids_of(const char* text) {
  const ModelConfig config = Checkpoint::open(kTinyR1).config();
  return tokenize_prompts(Tokenizer::load(kTinyR1), config, {text})[0].ids;
}

// Mean over the rows of sum p log(p / q) of two tables of logits.
double mean_kl_divergence(const Matrix<float>& of, const Matrix<float>& from) {
  double sum = 0.0;
  for (std::int64_t r = 0; r < of.rows(); ++r) {
    const auto normaliser = [&](const Matrix<float>& m) {
      double total = 0.0;
      for (std::int64_t c = 0; c < m.cols(); ++c) total += std::exp(double{m.row(r)[c]});
      return std::log(total);
    };
    const double p = normaliser(of), q = normaliser(from);
    for (std::int64_t c = 0; c < of.cols(); ++c) {
      const double log_p = of.row(r)[c] - p;
      sum += std::exp(log_p) * (log_p - (from.row(r)[c] - q));
    }
  }
  return sum / static_cast<double>(of.rows());
}

TEST_F(QuantizeMtp, QuantisesTheMtpLayerLikeADecoderLayer) {
  const auto model = quantized_model(with_mtp(Mtp::kMix));
  ASSERT_TRUE(model->has_mtp());
  const MtpWeights& mtp = *model->weights().mtp;
  EXPECT_EQ(mtp.layer.attention.q_b_proj->kind, Linear::Kind::kW8A8Static);
  EXPECT_EQ(mtp.layer.attention.o_proj.kind, Linear::Kind::kW8A8Static);
  EXPECT_EQ(mtp.layer.moe->experts[0].down_proj.kind, Linear::Kind::kW8A8Dynamic);
  EXPECT_EQ(mtp.layer.moe->shared_experts->up_proj.kind, Linear::Kind::kW8A8Dynamic);
  EXPECT_TRUE(mtp.layer.attention.fa.has_value());
  EXPECT_EQ(mtp.layer.attention.w_uk.tensor.kind, Linear::Kind::kFloat);
  EXPECT_TRUE(result_.mtp);
  ASSERT_EQ(result_.per_layer.size(), 6U);
  EXPECT_TRUE(result_.per_layer[5].mtp);
  EXPECT_EQ(result_.per_layer[5].layer, 5);
}

TEST_F(QuantizeMtp, KeepsWhatSurroundsTheMtpLayerInTheModelsType) {
  const Checkpoint checkpoint = quantized(with_mtp(Mtp::kMix));
  for (const char* name : {"eh_proj.weight", "enorm.weight", "hnorm.weight", "shared_head.norm.weight",
                           "mlp.gate.e_score_correction_bias", "self_attn.kv_b_proj.weight"}) {
    const TensorView& tensor = checkpoint.get(std::string("model.layers.5.") + name);
    EXPECT_EQ(tensor.dtype, DType::kBf16) << name;
    EXPECT_EQ(checkpoint.quant()->type_of(std::string("model.layers.5.") + name), QuantType::kFloat) << name;
  }
  EXPECT_FALSE(fs::exists(dir_ / "out/mtp_float-1.safetensors"));
  EXPECT_EQ(json("config.json").at("mtp_quantize"), "w8a8_dynamic");
}

TEST_F(QuantizeMtp, WritesTheDecoderLayersAsWithoutTheMtpLayer) {
  const Checkpoint with = quantized(with_mtp(Mtp::kMix));
  QuantizeOptions o = with_mtp(Mtp::kNone);
  o.out = dir_ / "without";
  quantize(o);
  const Checkpoint without = Checkpoint::open(o.out);
  for (const auto& [name, view] : without.tensors())
    EXPECT_TRUE(std::ranges::equal(view.bytes, with.get(name).bytes)) << name;
  EXPECT_FALSE(nlohmann::json::parse(read_file(o.out / "config.json")).contains("mtp_quantize"));
}

TEST_F(QuantizeMtp, PredictsNearlyAsTheFloatLayer) {
  const std::vector<std::int32_t> ids = ids_of(kText);
  const Matrix<float> exact = run_mtp_logits(*load_model(kTinyR1), ids);
  QuantizeOptions o = with_mtp(Mtp::kMix);
  o.calib.clear();
  EXPECT_LT(mean_kl_divergence(exact, run_mtp_logits(*quantized_model(o), ids)), 0.01);
}

// The layer is calibrated on what it sees at run time: the hidden state of a position and the token after it.
TEST_F(QuantizeMtp, ObservesTheLayerAsTheModelRunsIt) {
  QuantizeOptions o = with_mtp(Mtp::kMix);
  o.calib = dir_.write("calib.json", nlohmann::json{kText}.dump());
  const QuantizeResult result = quantize(o);

  const auto model = load_model(kTinyR1);
  const std::vector<std::int32_t> ids = ids_of(kText);
  const auto count = static_cast<std::int64_t>(ids.size()) - 1;
  ThreadPool pool(1);
  OpContext ctx(pool);
  LatentCache cache(model->cache_layers(CacheType::kF32), 16, 64);
  Scratch scratch(model->config(), count);
  std::vector<std::int32_t> blocks(64);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::int32_t>(i);
  StepBatch step, next;
  step.add(std::span(ids).first(ids.size() - 1), 0, blocks, 16, true);
  next.add(std::span(ids).subspan(1), 0, blocks, 16, true);
  Matrix<float> hidden(count, model->config().hidden_size), mtp_hidden(count, model->config().hidden_size);
  model->forward(ctx, step, {}, cache, scratch, hidden.view());
  model->mtp_forward(ctx, next, {}, cache, scratch, hidden.view(), mtp_hidden.view());

  float amax = 0.0F;
  for (std::int64_t t = 1; t < count; ++t)  // not BOS
    for (std::int64_t c = 0; c < model->config().kv_lora_rank; ++c)
      amax = std::max(amax, std::fabs(scratch.kv.row(t)[c]));
  EXPECT_NEAR(result.per_layer[5].latent_amax, amax, 1e-4 * amax);
}

TEST_F(QuantizeMtp, CopiesTheMtpLayerOrLeavesItOut) {
  EXPECT_TRUE(has_mtp(quantized(with_mtp(Mtp::kFloat))));
  EXPECT_TRUE(fs::exists(dir_ / "out/mtp_float-1.safetensors"));
  QuantizeOptions o = with_mtp(Mtp::kNone);
  o.overwrite = true;
  EXPECT_FALSE(has_mtp(quantized(o)));
  EXPECT_FALSE(result_.mtp);
}

TEST_F(QuantizeMtp, SaysThatASourceHasNoMtpTensors) {
  QuantizeOptions o = with_mtp(Mtp::kNone);
  o.weights = QuantizeOptions::Weights::kFloat;
  TempDir without;
  o.out = without / "source";
  quantize(o);
  fs::remove(o.out / "quant_model_description.json");
  fs::remove(o.out / "quant_model_description_float.json");
  auto config = nlohmann::json::parse(read_file(o.out / "config.json"));
  config.erase("quantize");
  config.erase("quantization_config");
  config["model_type"] = "deepseek_v3";
  std::ofstream(o.out / "config.json") << config.dump();

  QuantizeOptions mix = with_mtp(Mtp::kMix);
  mix.model = o.out;
  const QuantizeResult result = quantize(mix);

  EXPECT_FALSE(result.mtp);
  EXPECT_THAT(result.warnings, testing::Contains(testing::HasSubstr("no tensors of the MTP layer")));
}

}  // namespace
}  // namespace latent8
