#include <gmock/gmock.h>

#include "model/weights.h"
#include "quant/plan/plan.h"
#include "quant/quantize_fixture.h"
#include "support/errors.h"

namespace latent8 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(QuantizeTest, WritesTheFirstLayersAsAModelThatLoads) {
  QuantizeOptions o = options();
  o.layer_count = 2;

  auto checkpoint = std::make_shared<const Checkpoint>(quantized(o));

  EXPECT_EQ(json("config.json").at("num_hidden_layers"), 2);
  EXPECT_EQ(load_weights(checkpoint).layers.size(), 2U);
  EXPECT_EQ(checkpoint->find("model.layers.2.input_layernorm.weight"), nullptr);
  EXPECT_NE(checkpoint->find("lm_head.weight"), nullptr);
  EXPECT_EQ(result_.layers, 2);
  EXPECT_FALSE(result_.mtp);
  EXPECT_THAT(result_.warnings, testing::Contains(HasSubstr("MTP layer is left out")));
}

TEST_F(QuantizeTest, RefusesMoreLayersThanThereAre) {
  QuantizeOptions o = options();
  o.layer_count = 6;
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); }),
              HasSubstr("0 (all) to 5 expected"));
}

TEST(ReferenceFallback, IsChosenByAPartOfTheModelsPath) {
  EXPECT_THAT(reference_fallback("/models/DeepSeek-r1-0528"),
              ElementsAre(0, 1, 2, 46, 47, 50, 54, 55, 56, 57, 58, 59, 60));
  EXPECT_THAT(reference_fallback("/models/deepseek-v3.1"),
              ElementsAre(0, 1, 2, 50, 51, 53, 54, 55, 56, 57, 58, 59, 60));
  EXPECT_THAT(reference_fallback("/models/deepseek-v3"),
              ElementsAre(0, 1, 2, 46, 50, 51, 53, 54, 55, 56, 57, 59, 60));
  EXPECT_EQ(reference_fallback("/V3/r1"), reference_fallback("R1"));  // the first list that the path names
  EXPECT_TRUE(reference_fallback("/models/kimi").empty());
}

TEST_F(QuantizeTest, KeepsAFloatCacheWhereTheReferenceDoes) {
  QuantizeOptions o = options();  // "tiny-r1"
  o.fallback = QuantizeOptions::Fallback::kReference;

  const ModelWeights model = load_weights(std::make_shared<const Checkpoint>(quantized(o)));

  std::vector<bool> int8;
  for (const LayerWeights& layer : model.layers) int8.push_back(layer.attention.fa.has_value());
  EXPECT_THAT(int8, ElementsAre(false, false, false, true, true));
  EXPECT_TRUE(model.mtp->layer.attention.fa.has_value());
  EXPECT_EQ(model.layers[0].attention.o_proj.kind, Linear::Kind::kW8A8Static);
  EXPECT_EQ(result_.fa_layers, 2);
  EXPECT_THAT(result_.warnings, testing::Contains(HasSubstr("float cache")));
}

TEST_F(QuantizeTest, RunsLayersThatLaterOnesNeed) {
  QuantizeOptions all = options();
  all.dynamic = true;
  const QuantizeResult everywhere = quantize(all);
  QuantizeOptions some = all;
  some.fallback = QuantizeOptions::Fallback::kReference;
  some.out = dir_ / "some";
  const QuantizeResult last_two = quantize(some);
  EXPECT_EQ(last_two.per_layer[0].k_scale, 0.0);
  EXPECT_GT(last_two.per_layer[4].k_scale, 0.0);
  EXPECT_EQ(last_two.per_layer[4].k_scale, everywhere.per_layer[4].k_scale);
}

}  // namespace
}  // namespace latent8
