#include <gmock/gmock.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/weights.h"
#include "quant/character_tokenizer.h"
#include "quant/quantize_fixture.h"
#include "quant/support.h"
#include "source/source_tensor.h"
#include "support/small_model.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

TEST_F(QuantizeTest, WritesFloat16ForAFloat16Model) {
  TempDir source;
  source.copy_from(kTinyR1);
  nlohmann::json config = nlohmann::json::parse(read_file(source / "config.json"));
  config["torch_dtype"] = "float16";
  source.write("config.json", config.dump());
  auto checkpoint = std::make_shared<const Checkpoint>(quantized(options(source.path())));
  const std::string o_proj = "model.layers.1.self_attn.o_proj";
  EXPECT_EQ(checkpoint->get(o_proj + ".input_scale").dtype, DType::kF16);
  EXPECT_EQ(checkpoint->get(o_proj + ".deq_scale").dtype, DType::kI64);
  EXPECT_EQ(checkpoint->get("model.norm.weight").dtype, DType::kF16);
  const ModelWeights model = load_weights(checkpoint);
  const Linear& linear = model.layers[1].attention.o_proj;
  float weight_scale = 0.0F;
  widen(checkpoint->get(o_proj + ".weight_scale").bytes.data(), DType::kF16, 1, &weight_scale);
  EXPECT_EQ(linear.scale[0], to_float(to_fp16(linear.input_scale * weight_scale)));
}

TEST_F(QuantizeTest, WidensFp8Sources) {
  const fs::path fp8 = small_model("v3-fp8-small");
  QuantizeOptions o = options(fp8);
  o.fa_quant = false;
  o.dynamic = true;
  auto checkpoint = std::make_shared<const Checkpoint>(quantized(o));
  EXPECT_EQ(checkpoint->get("model.layers.1.self_attn.kv_b_proj.weight").dtype, DType::kBf16);
  for (const auto& [name, view] : checkpoint->tensors()) EXPECT_FALSE(name.ends_with("_scale_inv")) << name;
  EXPECT_FALSE(json("config.json").at("quantization_config").contains("weight_block_size"));
  const Checkpoint source = Checkpoint::open(fp8);
  const std::string name = "model.layers.1.self_attn.q_b_proj.weight";
  const SourceTensor exact(source, name);
  const ModelWeights model = load_weights(checkpoint);
  const Linear& linear = *model.layers[1].attention.q_b_proj;
  std::vector<float> row(static_cast<std::size_t>(exact.cols()));
  for (std::int64_t r = 0; r < exact.rows(); ++r) {
    exact.read_row(r, row.data());
    const auto* codes = static_cast<const std::int8_t*>(linear.weight) + r * exact.cols();
    for (std::size_t c = 0; c < row.size(); ++c)
      ASSERT_NEAR(codes[c] * linear.scale[r], row[c], 0.76F * linear.scale[r]) << r << ", " << c;
  }
}

TEST_F(QuantizeTest, CountsABiasInTheRangeOfTheLatent) {
  const Checkpoint plain = Checkpoint::open(kTinyR1);
  const std::string kv_a = "model.layers.1.self_attn.kv_a_proj_with_mqa";
  std::vector<float> bias(static_cast<std::size_t>(plain.get(kv_a + ".weight").shape[0]));
  bias[0] = 64.0F;
  TempDir source;
  write_changed_model(source, plain, {{kv_a + ".bias", bias}});

  const Checkpoint checkpoint = quantized(options(source.path()));

  EXPECT_EQ(checkpoint.quant()->type_of(kv_a + ".bias"), QuantType::kFloat);
  const LayerReport& layer = result_.per_layer[1];
  EXPECT_GT(layer.latent_amax, 2.0 * result_.per_layer[2].latent_amax);
  for (const LayerReport::Candidate& c : layer.candidates)
    EXPECT_THAT(c.name, testing::AnyOf("none", "fold"));
  EXPECT_GT(127.0 * layer.k_scale, 0.55 * layer.stored_amax);
  EXPECT_EQ(result_.per_layer[2].candidates.size(), 4U);
}

class QuantizeFamily : public QuantizeTest, public testing::WithParamInterface<const char*> {};

TEST_P(QuantizeFamily, QuantisesWithStaticAttentionAndFaScales) {
  TempDir source;
  source.copy_from(small_model(GetParam()));
  write_character_tokenizer(source);
  QuantizeOptions o = options(source.path());
  o.calib = dir_.write("calib.json", R"(["deep-learning:networks,of,layers", "mean=sum/count;mean>0"])");
  auto checkpoint = std::make_shared<const Checkpoint>(quantized(o));
  const ModelWeights model = load_weights(checkpoint);
  for (const LayerWeights& layer : model.layers) {
    const AttentionWeights& w = layer.attention;
    EXPECT_TRUE(same_input(w.q_proj ? *w.q_proj : *w.q_a_proj, w.kv_a_proj_with_mqa));
    EXPECT_EQ(w.o_proj.kind, Linear::Kind::kW8A8Static);
    EXPECT_TRUE(w.fa.has_value());
  }
  EXPECT_EQ(result_.tokens, 32 + 21);
}

INSTANTIATE_TEST_SUITE_P(Models, QuantizeFamily,
                         testing::Values("v2-lite-small", "v2-small", "v3-fp8-small", "kimi-k2-small",
                                         "minicpm3-small", "v32-small", "glm5-small"),
                         [](const auto& p) {
                           std::string name = p.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_F(QuantizeTest, KeepsFp8WeightsInTheirStoredForm) {
  TempDir source;
  source.copy_from(small_model("v3-fp8-small"));
  write_character_tokenizer(source);
  QuantizeOptions o = options(source.path());
  o.calib = dir_.write("calib.json", R"(["deep-learning"])");
  o.weights = QuantizeOptions::Weights::kFloat;
  auto checkpoint = std::make_shared<const Checkpoint>(quantized(o));
  EXPECT_EQ(checkpoint->get("model.layers.1.self_attn.q_b_proj.weight").dtype, DType::kF8E4M3);
  EXPECT_EQ(load_weights(checkpoint).layers[1].attention.q_b_proj->type, WeightType::kF8E4M3);
  EXPECT_TRUE(json("config.json").at("quantization_config").contains("weight_block_size"));
}

}  // namespace
}  // namespace latent8
