#include "formats/write_model_config.h"

#include <nlohmann/json.hpp>

#include "formats/files.h"
#include "support/errors.h"
#include "support/small_model.h"

namespace latent8 {
namespace {

ModelConfig config_of(const std::string& name) {
  const std::string path = LATENT8_SOURCE_DIR "/tests/data/golden/" + name + "/config.json";
  return parse_model_config(read_text_file(path), path);
}

TEST(WriteModelConfig, ReadAgainItIsTheSameConfigOfEverySmallModel) {
  ASSERT_GE(all_small_models().size(), 12U);
  for (const std::string& name : all_small_models()) {
    ModelConfig expected = config_of(name);
    expected.nested = false;  // what is written is the language model's own
    expected.weight_block_size.reset();
    EXPECT_EQ(parse_model_config(write_model_config(expected).dump(), name), expected) << name;
  }
}

// --format mindie renames the type, and with it what absent keys mean.
TEST(WriteModelConfig, NothingDependsOnTheNameOfTheModel) {
  for (const std::string& name : all_small_models()) {
    ModelConfig expected = config_of(name);
    expected.nested = false;
    expected.weight_block_size.reset();
    auto written = write_model_config(expected);
    written["model_type"] = "deepseekv2";
    ModelConfig read = parse_model_config(written.dump(), name);
    read.model_type = expected.model_type;
    EXPECT_EQ(read, expected) << name;
  }
}

TEST(WriteModelConfig, WhatAModelDoesNotHaveIsNotAssumedAgain) {
  ModelConfig config = config_of("minicpm3-small");
  config.scale_depth.reset();
  config.dim_model_base.reset();
  config.scale_emb = 1.0;
  EXPECT_EQ(parse_model_config(write_model_config(config).dump(), "config.json"), config);
}

TEST(ModelConfigLayers, TheFirstOnesComputeWhatTheyDid) {
  const ModelConfig config = config_of("minicpm3-small"), first = config.with_layers(1);
  EXPECT_EQ(first.num_hidden_layers, 1);
  EXPECT_NE(first.scale_depth, config.scale_depth);
  EXPECT_DOUBLE_EQ(first.residual_scale(), config.residual_scale());
  EXPECT_EQ(config.with_layers(config.num_hidden_layers), config);
}

}  // namespace
}  // namespace latent8
