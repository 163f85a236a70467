#include "formats/layer_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace latent8 {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

ModelConfig small() {
  ModelConfig c;
  c.vocab_size = 100;
  c.hidden_size = 64;
  c.intermediate_size = 96;
  c.moe_intermediate_size = 24;
  c.num_hidden_layers = 3;
  c.num_nextn_predict_layers = 1;
  c.num_attention_heads = 4;
  c.n_routed_experts = 5;
  c.n_shared_experts = 2;
  c.first_k_dense_replace = 1;
  c.q_lora_rank = 40;
  c.kv_lora_rank = 32;
  c.qk_nope_head_dim = 16;
  c.qk_rope_head_dim = 8;
  c.v_head_dim = 12;
  c.topk_method = "noaux_tc";
  return c;
}

std::vector<std::string> weights(const LayerSchema& schema) {
  std::vector<std::string> out;
  for_each_tensor(schema, [&](const TensorSchema& tensor, std::int64_t expert) {
    out.push_back(schema.weight(tensor, expert));
  });
  return out;
}

std::vector<std::int64_t> shape(const TensorSchema& tensor) { return {tensor.rows, tensor.cols}; }

TEST(LayerSchema, NamesADenseLayerInTheOrderOfComputation) {
  EXPECT_THAT(
      weights(layer_schema(small(), 0)),
      ElementsAre("model.layers.0.input_layernorm.weight", "model.layers.0.self_attn.q_a_proj.weight",
                  "model.layers.0.self_attn.q_a_layernorm.weight", "model.layers.0.self_attn.q_b_proj.weight",
                  "model.layers.0.self_attn.kv_a_proj_with_mqa.weight",
                  "model.layers.0.self_attn.kv_a_layernorm.weight",
                  "model.layers.0.self_attn.kv_b_proj.weight", "model.layers.0.self_attn.o_proj.weight",
                  "model.layers.0.post_attention_layernorm.weight", "model.layers.0.mlp.gate_proj.weight",
                  "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"));
}

TEST(LayerSchema, AModelWithoutQLoraHasOneQueryProjection) {
  ModelConfig c = small();
  c.q_lora_rank.reset();
  EXPECT_THAT(weights(layer_schema(c, 0)), AllOf(Contains("model.layers.0.self_attn.q_proj.weight"),
                                                 Not(Contains("model.layers.0.self_attn.q_b_proj.weight"))));
  EXPECT_EQ(shape(layer_schema(c, 0).get(TensorRole::kQProj)), (std::vector<std::int64_t>{4 * 24, 64}));
}

TEST(LayerSchema, OneEntryStandsForAllRoutedExperts) {
  const LayerSchema schema = layer_schema(small(), 1);
  EXPECT_EQ(schema.tensors.size(), 9 + 3 + 2 + 3);
  EXPECT_EQ(schema.experts, 5);
  const std::vector<std::string> names = weights(schema);
  EXPECT_EQ(names.size(), 9 + 15 + 2 + 3);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  // All of one expert before the next.
  EXPECT_EQ(names[9], "model.layers.1.mlp.experts.0.gate_proj.weight");
  EXPECT_EQ(names[11], "model.layers.1.mlp.experts.0.down_proj.weight");
  EXPECT_EQ(names[12], "model.layers.1.mlp.experts.1.gate_proj.weight");
  EXPECT_EQ(names[25], "model.layers.1.mlp.gate.e_score_correction_bias");
  EXPECT_EQ(shape(schema.get(TensorRole::kUpProj, LayerPart::kExpert)), (std::vector<std::int64_t>{24, 64}));
  EXPECT_EQ(shape(schema.get(TensorRole::kUpProj, LayerPart::kSharedExpert)),
            (std::vector<std::int64_t>{48, 64}));
}

TEST(LayerSchema, AGateOfSoftmaxHasNoBias) {
  ModelConfig c = small();
  c.topk_method = "greedy";
  EXPECT_EQ(layer_schema(c, 1).find(TensorRole::kRouterBias), nullptr);
}

TEST(LayerSchema, AnIndexListsTheNormsOfALayerLast) {
  std::vector<std::string> names;
  const LayerSchema schema = layer_schema(small(), 3);
  for_each_listed(schema, [&](const TensorSchema& tensor, std::int64_t expert) {
    names.push_back(schema.weight(tensor, expert));
  });
  ASSERT_EQ(names.size(), 29U);
  EXPECT_EQ(names.front(), "model.layers.3.self_attn.q_a_proj.weight");
  EXPECT_EQ(names[27], "model.layers.3.input_layernorm.weight");
  EXPECT_EQ(names[28], "model.layers.3.post_attention_layernorm.weight");
}

TEST(LayerSchema, OnlyLinearsOfDecoderLayersMayBeInt8) {
  const ModelSchema schema(small());
  std::map<TensorRole, bool> int8;
  for (const LayerSchema& layer : schema.layers())
    for (const TensorSchema& tensor : layer.tensors) int8[tensor.role] = tensor.may_be_int8();
  for (const TensorRole role : {TensorRole::kKvBProj, TensorRole::kRouter, TensorRole::kEhProj,
                                TensorRole::kSharedHead, TensorRole::kInputNorm, TensorRole::kRouterBias})
    EXPECT_FALSE(int8.at(role)) << static_cast<int>(role);
  for (const TensorRole role : {TensorRole::kQAProj, TensorRole::kQBProj, TensorRole::kKvAProj,
                                TensorRole::kOProj, TensorRole::kUpProj, TensorRole::kDownProj})
    EXPECT_TRUE(int8.at(role)) << static_cast<int>(role);
}

// Statistics of inputs are arrays of kInputKinds, and every int8 linear has an input.
TEST(LayerSchema, InputsOfInt8LinearsAreTheFirstKinds) {
  const ModelSchema schema(small());
  for (const LayerSchema& layer : schema.layers())
    for (const TensorSchema& tensor : layer.tensors)
      EXPECT_EQ(static_cast<std::size_t>(tensor.reads) < kInputKinds,
                tensor.may_be_int8() || tensor.role == TensorRole::kRouter)
          << layer.name(tensor, tensor.part == LayerPart::kExpert ? 0 : -1);
}

TEST(LayerSchema, ColumnsAreChannelsOfTheNormBefore) {
  const ModelSchema schema(small());
  std::vector<const LayerSchema*> all{&schema.outside()};
  for (const LayerSchema& layer : schema.layers()) all.push_back(&layer);
  for (const LayerSchema* layer : all)
    for (const TensorSchema& tensor : layer->tensors) {
      std::int64_t channels = 0;
      for (const auto& norm : tensor.norms) channels += norm ? layer->get(*norm).rows : 0;
      if (channels > 0) EXPECT_EQ(channels, tensor.cols) << tensor.path;
    }
}

TEST(LayerSchema, HeadsAndRowsAreWhatProcessesShare) {
  const LayerSchema layer = layer_schema(small(), 1);
  const auto split = [&](TensorRole role) { return layer.get(role).split; };
  EXPECT_EQ(split(TensorRole::kQBProj), TensorSplit::kHeads);
  EXPECT_EQ(split(TensorRole::kKvBProj), TensorSplit::kHeads);
  EXPECT_EQ(split(TensorRole::kOProj), TensorSplit::kRows);
  EXPECT_EQ(split(TensorRole::kDownProj), TensorSplit::kRows);
  EXPECT_EQ(split(TensorRole::kKvAProj), TensorSplit::kWhole);
  EXPECT_EQ(split(TensorRole::kRouter), TensorSplit::kWhole);
  EXPECT_EQ(outside_schema(small()).get(TensorRole::kLmHead).split, TensorSplit::kVocabulary);
}

TEST(ModelSchema, FindsEveryTensorByItsName) {
  const ModelSchema schema(small());
  for (const LayerSchema& layer : schema.layers())
    for_each_tensor(layer, [&](const TensorSchema& tensor, std::int64_t expert) {
      const std::string name = layer.weight(tensor, expert);
      const auto found = schema.find(name);
      ASSERT_TRUE(found) << name;
      EXPECT_EQ(found->tensor->role, tensor.role) << name;
      EXPECT_EQ(found->tensor->part, tensor.part) << name;
      EXPECT_EQ(found->layer, layer.layer) << name;
      EXPECT_EQ(found->expert, expert) << name;
      EXPECT_EQ(found->suffix, tensor.form == TensorForm::kVector ? "" : ".weight") << name;
    });
  EXPECT_EQ(schema.find("lm_head.weight")->tensor->role, TensorRole::kLmHead);
  EXPECT_EQ(schema.find("model.norm.weight")->layer, -1);
}

TEST(ModelSchema, KnowsScalesBiasesAndDoubles) {
  const ModelSchema schema(small());
  for (const char* name :
       {"model.layers.1.mlp.experts.4.up_proj.weight_scale", "model.layers.0.self_attn.o_proj.deq_scale",
        "model.layers.0.self_attn.o_proj.bias", "model.layers.0.self_attn.q_b_proj.weight_scale_inv",
        "model.layers.2.input_layernorm.module.weight", "model.layers.2.self_attn.fa_q.scale",
        "model.layers.3.self_attn.fa_k.offset", "model.layers.3.eh_proj.weight", "model.norm.bias"})
    EXPECT_TRUE(schema.knows(name)) << name;
}

TEST(ModelSchema, KnowsAnIndexerWhereTheConfigHasOne) {
  ModelConfig config = small();
  config.index_topk = 64;
  config.index_n_heads = 2;
  config.index_head_dim = 16;
  const ModelSchema schema(config);
  for (const char* name : {"wq_b.weight", "wq_b.weight_scale_inv", "wk.weight", "k_norm.weight",
                           "k_norm.bias", "weights_proj.weight"})
    EXPECT_TRUE(schema.knows(std::string("model.layers.1.self_attn.indexer.") + name)) << name;
  EXPECT_TRUE(schema.find("model.layers.1.self_attn.indexer.wk.weight")->tensor->optional);
}

TEST(ModelSchema, KnowsNoTensorOfAnotherModel) {
  const ModelSchema schema(small());
  for (const char* name :
       {"model.layers.1.mlp.experts.5.up_proj.weight", "model.layers.1.mlp.experts.04.up_proj.weight",
        "model.layers.0.mlp.experts.0.up_proj.weight", "model.layers.1.mlp.up_proj.weight",
        "model.layers.4.input_layernorm.weight", "model.layers.2.eh_proj.weight",
        "model.layers.-1.input_layernorm.weight", "model.layers.1", "model.layers.", "",
        "model.layers.0.self_attn.indexer.wq_b.weight", "model.layers.0.post_mlp_layernorm.weight",
        "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_a_proj",
        "model.layers.1.mlp.gate.e_score_correction_bias.weight",
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.layers.1.mlp.experts.99999999999999999999.up_proj.weight", "language_model.model.norm.weight"})
    EXPECT_FALSE(schema.knows(name)) << name;
}

}  // namespace
}  // namespace latent8
