#include "formats/rope_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/published_configs.h"

namespace latent8 {
namespace {

using ::testing::HasSubstr;

TEST(RopeConfig, ReadsRopeParametersOfTransformers5) {
  json config = without(without(r1(), "rope_theta"), "rope_scaling");
  config["rope_parameters"] = {{"rope_type", "yarn"},
                               {"rope_theta", 50000.0},
                               {"factor", 32},
                               {"original_max_position_embeddings", 4096}};
  config["dtype"] = config["torch_dtype"];
  config.erase("torch_dtype");

  const ModelConfig c = parse_config(config);

  EXPECT_EQ(c.rope_theta, 50000.0);
  ASSERT_TRUE(c.rope_scaling);
  EXPECT_EQ(c.rope_scaling->factor, 32.0);
  EXPECT_EQ(c.rope_scaling->mscale_all_dim, 0.0);
}

TEST(RopeConfig, RopeScalingMayBeAbsentNullOrDefault) {
  EXPECT_FALSE(parse_config(without(r1(), "rope_scaling")).rope_scaling);
  EXPECT_FALSE(parse_config(with(r1(), "rope_scaling", nullptr)).rope_scaling);
  EXPECT_FALSE(parse_config(with(r1(), "rope_scaling", {{"rope_type", "default"}})).rope_scaling);
}

TEST(RopeConfig, LongropesContextsEndWhereItsLongFactorsBegin) {
  const ModelConfig c = parse_config(with(minicpm3(), "max_position_embeddings", 131072));
  EXPECT_EQ(c.rope_scaling->factor, 4.0);
  EXPECT_EQ(c.context_limit().tokens, 32768);
  EXPECT_THAT(c.context_limit().reason, HasSubstr("longrope"));
  json few = minicpm3();
  few["rope_scaling"]["short_factor"].erase(3);
  EXPECT_THAT(refusal_of_config(few), AllOf(HasSubstr("'short_factor'"), HasSubstr("16 positive numbers")));
}

// Mistral's own converters write it without YaRN, vLLM's beside the rotary parameters.
TEST(RopeConfig, ReadsScaledQueriesInBothSpellings) {
  const json rope = {{"rope_type", "default"},
                     {"rope_theta", 1e6},
                     {"original_max_position_embeddings", 4096},
                     {"llama_4_scaling_beta", 0.25}};
  const json one = with(mistral4(), "rope_parameters", rope);
  EXPECT_FALSE(parse_config(one).rope_scaling);
  EXPECT_EQ(parse_config(one).llama_4_scaling, (QueryScaling{0.25, 4096}));
  const json other = {{"beta", 0.25}, {"original_max_position_embeddings", 4096}};
  EXPECT_EQ(parse_config(with(r1(), "llama_4_scaling", other)).llama_4_scaling, (QueryScaling{0.25, 4096}));
  EXPECT_EQ(parse_config(with(one, "llama_4_scaling", other)), parse_config(one));
  json unlike = with(one, "llama_4_scaling", other);
  unlike["llama_4_scaling"]["beta"] = 0.5;
  EXPECT_THAT(refusal_of_config(unlike), HasSubstr("'llama_4_scaling': what 'llama_4_scaling_beta'"));
  json negative = one;
  negative["rope_parameters"]["llama_4_scaling_beta"] = -1;
  EXPECT_THAT(refusal_of_config(negative), HasSubstr("'llama_4_scaling_beta'"));
  EXPECT_THAT(refusal_of_config(with(r1(), "llama_4_scaling", {{"beta", 0.1}}), ErrorCode::kCorrupt),
              HasSubstr("'original_max_position_embeddings'"));
  EXPECT_FALSE(parse_config(r1()).llama_4_scaling);
}

TEST(RopeConfig, ThePartThatIsRotatedIsTheRopeChannels) {
  json config = mistral4();
  config["rope_parameters"] = {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}};
  EXPECT_EQ(parse_config(config).qk_rope_head_dim, 64);
  config["rope_parameters"]["partial_rotary_factor"] = 0.25;
  EXPECT_THAT(refusal_of_config(config), HasSubstr("'partial_rotary_factor': 1 or 0.5"));
}

}  // namespace
}  // namespace latent8
