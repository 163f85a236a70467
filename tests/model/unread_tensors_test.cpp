#include "model/unread_tensors.h"

#include <gtest/gtest.h>

#include "model/weights.h"
#include "support/errors.h"
#include "support/model_runner.h"
#include "support/small_model.h"

namespace latent8 {
namespace {

// The tensors of models/tiny-r1 with others beside them, in memory.
class UnreadTensorsOf : public testing::Test {
 protected:
  UnreadTensorsOf()
      : original_(Checkpoint::open(source_path("models/tiny-r1"))), config_(original_.config()) {}

  void add(const std::string& name) { extra_.push_back(name); }
  Checkpoint checkpoint() const {
    TensorMap tensors = original_.tensors();
    for (const std::string& name : extra_) tensors[name] = original_.get("model.norm.weight");
    return Checkpoint::of_tensors(config_, std::move(tensors));
  }

  const Checkpoint original_;
  ModelConfig config_;
  std::vector<std::string> extra_;
};

TEST_F(UnreadTensorsOf, NothingIsLeftOverOfAWholeModel) {
  EXPECT_EQ(unread_tensors(checkpoint()).unknown, std::vector<std::string>());
  EXPECT_EQ(unread_tensors(checkpoint()).harmless, std::vector<std::string>());
}

TEST_F(UnreadTensorsOf, PartsThatAreNotKnownAreNamed) {
  add("model.layers.1.self_attn.indexer.wk.weight");
  add("model.layers.0.post_mlp_layernorm.weight");

  const std::string error =
      error_of(ErrorCode::kUnsupported, [&] { refuse_unread_tensors(checkpoint(), false); });

  EXPECT_THAT(error, testing::HasSubstr("2 tensors that no part of the model reads: "
                                        "'model.layers.0.post_mlp_layernorm.weight', "
                                        "'model.layers.1.self_attn.indexer.wk.weight'"));
  EXPECT_THAT(error, testing::HasSubstr("--ignore-unread-tensors"));
  EXPECT_NO_THROW(refuse_unread_tensors(checkpoint(), true));
}

TEST_F(UnreadTensorsOf, ConstantsAndScalesOfOtherCachesAreHarmless) {
  add("model.layers.0.self_attn.rotary_emb.inv_freq");
  add("model.layers.0.self_attn.attn.k_scale");
  add("model.layers.0.self_attn.v_scale");

  const UnreadTensors unread = unread_tensors(checkpoint());

  EXPECT_EQ(unread.unknown, std::vector<std::string>());
  EXPECT_EQ(unread.harmless.size(), 3U);
}

TEST_F(UnreadTensorsOf, WhatNothingReadsBesideAWeightIsNamed) {
  const std::vector<std::string> names = {
      "model.embed_tokens.bias", "model.layers.0.self_attn.kv_b_proj.bias",
      "model.layers.0.self_attn.o_proj.deq_scale", "model.layers.0.self_attn.o_proj.weight_scale_inv"};
  for (const std::string& name : names) add(name);
  add("model.layers.0.self_attn.o_proj.bias");  // which is added

  EXPECT_EQ(unread_tensors(checkpoint()).unknown, names);
}

TEST_F(UnreadTensorsOf, FewerLayersThanTheFileHasAreNoticed) {
  config_.num_hidden_layers -= 1;

  EXPECT_THAT(
      unread_tensors(checkpoint()).unknown,
      testing::Contains(fmt::format("model.layers.{}.input_layernorm.weight", config_.num_hidden_layers)));
}

TEST_F(UnreadTensorsOf, MoreLayersThanTheFileHasAreNoticed) {  // the MTP layer would be a decoder layer
  config_.num_hidden_layers += 1;

  EXPECT_THAT(unread_tensors(checkpoint()).unknown, testing::Contains(testing::EndsWith(".eh_proj.weight")));
}

TEST_F(UnreadTensorsOf, SharedExpertsThatTheConfigDoesNotNameAreNoticed) {
  config_.n_shared_experts = 0;

  EXPECT_THAT(unread_tensors(checkpoint()).unknown,
              testing::Each(testing::HasSubstr(".mlp.shared_experts.")));
  EXPECT_FALSE(unread_tensors(checkpoint()).unknown.empty());
}

TEST_F(UnreadTensorsOf, AnMtpLayerThatTheConfigDoesNotNameIsHarmless) {
  config_.num_nextn_predict_layers = 0;

  const UnreadTensors unread = unread_tensors(checkpoint());

  EXPECT_EQ(unread.unknown, std::vector<std::string>());
  EXPECT_THAT(unread.harmless, testing::Contains(testing::EndsWith(".eh_proj.weight")));
}

TEST_F(UnreadTensorsOf, AnUnknownPartOfTheMtpLayerIsNamed) {
  const std::string name = fmt::format("model.layers.{}.extra_norm.weight", config_.num_hidden_layers);
  add(name);

  EXPECT_EQ(unread_tensors(checkpoint()).unknown, std::vector<std::string>{name});
}

TEST_F(UnreadTensorsOf, AHeadBesideTiedEmbeddingsIsHarmless) {
  config_.tie_word_embeddings = true;

  EXPECT_EQ(unread_tensors(checkpoint()).harmless, std::vector<std::string>{"lm_head.weight"});
}

TEST_F(UnreadTensorsOf, LayersThatAreNotWrittenAreNotLookedAt) {
  add(fmt::format("model.layers.{}.x", config_.num_hidden_layers - 1));

  EXPECT_EQ(unread_tensors(checkpoint(), 1).unknown, std::vector<std::string>());
}

TEST(UnreadTensors, EveryTensorOfTheReferencesCheckpointHasAReader) {
  for (const char* name : {"tests/data/golden/msmodelslim/a_mindie_m4_static"})
    EXPECT_EQ(unread_tensors(Checkpoint::open(source_path(name))).unknown, std::vector<std::string>())
        << name;
}

TEST(UnreadTensors, EverySmallModelIsReadWhole) {
  for (const std::string& name : all_small_models())
    EXPECT_EQ(unread_tensors(Checkpoint::open(small_model(name))).unknown, std::vector<std::string>())
        << name;
}

}  // namespace
}  // namespace latent8
