// What makes a layer's cache int8, and what is refused at load.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "support/errors.h"
#include "support/model_runner.h"
#include "support/seed_form.h"
#include "support/small_model.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

constexpr const char* kInt8Checkpoint = "tests/data/golden/msmodelslim/a_mindie_m4_static";
constexpr const char* kDescription = "quant_model_description_w8a8_dynamic.json";

// A copy of the reference's checkpoint whose description has been edited.
class Int8Checkpoint : public testing::Test {
 protected:
  void SetUp() override { dir_.copy_from(source_path(kInt8Checkpoint)); }

  template <class Edit>
  void edit_description(const Edit& edit) {
    auto json = nlohmann::ordered_json::parse(read_file(dir_ / kDescription));
    edit(json);
    dir_.write(kDescription, json.dump(4));
  }
  void drop_fa_entries(const std::string& layer) {
    edit_description([&](nlohmann::ordered_json& json) {
      for (const char* which : {"fa_q", "fa_k", "fa_v"})
        for (const char* what : {"scale", "offset"})
          json.erase(fmt::format("model.layers.{}.self_attn.{}.{}", layer, which, what));
    });
  }
  Matrix<float> logits(const std::filesystem::path& dir, const RunOptions& options = {}) {
    const auto model = load_model(dir);
    return std::move(run_logits(*model, {random_ids(90, model->config().vocab_size, 5)}, options)[0]);
  }

  TempDir dir_;
};

TEST_F(Int8Checkpoint, TheSeedsFormGivesEqualLogits) {
  const TempDir seed;
  rewrite_in_seed_form(source_path(kInt8Checkpoint), seed.path());

  EXPECT_TRUE(bit_equal(logits(seed.path()), logits(source_path(kInt8Checkpoint))));
}

TEST_F(Int8Checkpoint, ALayerThatTheDescriptionDoesNotListKeepsAFloatCache) {
  drop_fa_entries("2");

  const auto layers = load_model(dir_.path())->cache_layers(CacheType::kF16);

  EXPECT_EQ(layers[1].layout.type, CacheType::kInt8);
  EXPECT_EQ(layers[2].layout.type, CacheType::kF16);
  EXPECT_EQ(LatentCache::bytes_per_token(layers), 4 * 640 + 1152);
}

TEST_F(Int8Checkpoint, MixedLayersKeepTheEqualities) {
  drop_fa_entries("0");
  drop_fa_entries("3");

  const Matrix<float> whole = logits(dir_.path(), {.float_cache = CacheType::kF16});

  EXPECT_TRUE(
      bit_equal(logits(dir_.path(), {.threads = 1, .chunk = 1, .float_cache = CacheType::kF16}), whole));
  EXPECT_TRUE(
      bit_equal(logits(dir_.path(), {.block_size = 32, .chunk = 50, .float_cache = CacheType::kF16}), whole));
  EXPECT_FALSE(bit_equal(logits(source_path(kInt8Checkpoint)), whole));
}

TEST_F(Int8Checkpoint, AListedScaleThatIsMissingIsRefusedByName) {
  edit_description([](nlohmann::ordered_json& json) {
    json["model.layers.9.self_attn.fa_q.scale"] = "FAQuant";  // no such layer: not read
    json.erase("model.layers.1.self_attn.fa_k.scale");  // left out of the checkpoint, though fa_q is listed
  });

  const std::string message = error_of(ErrorCode::kCorrupt, [&] { load_model(dir_.path()); });

  EXPECT_THAT(message, testing::HasSubstr("model.layers.1.self_attn.fa_k.scale"));
}

TEST_F(Int8Checkpoint, AConfigWithMtpButNoMtpTensorsLoadsWithMtpOff) {
  EXPECT_EQ(Checkpoint::open(dir_.path()).config().num_nextn_predict_layers, 1);
  EXPECT_FALSE(load_model(dir_.path())->has_mtp());
}

TEST_F(Int8Checkpoint, AnInt8ProjectionThatIsAbsorbedIsRefused) {
  edit_description(
      [](nlohmann::ordered_json& json) { json["model.layers.0.self_attn.kv_b_proj.weight"] = "W8A8"; });

  const std::string message = error_of(ErrorCode::kUnsupported, [&] { load_model(dir_.path()); });

  EXPECT_THAT(message, testing::HasSubstr("model.layers.0.self_attn.kv_b_proj.weight"));
}

// Overwrites the first element of a tensor of the folder's only shard.
template <class T>
void damage(const TempDir& dir, const std::string& tensor, T value) {
  const Checkpoint checkpoint = Checkpoint::open(dir.path());
  const TensorPlace place = checkpoint.place_of(tensor);
  std::fstream file(checkpoint.files()[place.file].path(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(place.offset);
  file.write(reinterpret_cast<const char*>(&value), sizeof value);
}

TEST_F(Int8Checkpoint, ValuesThatCannotBeRightAreRefusedByName) {
  const std::string layer = "model.layers.1.";
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::uint16_t bf16_nan = 0x7fc0, bf16_huge = 0x7f00, bf16_minus_one = 0xbf80;
  const auto refused = [&](const std::string& tensor, auto value) {
    TempDir copy;
    copy.copy_from(dir_.path());
    damage(copy, tensor, value);
    EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { load_model(copy.path()); }), testing::HasSubstr(tensor));
  };

  refused(layer + "self_attn.q_a_proj.deq_scale", nan);
  refused(layer + "self_attn.q_a_proj.deq_scale", -1.0F);
  refused(layer + "self_attn.q_a_proj.quant_bias", std::int32_t{0x7fffffff});
  refused(layer + "self_attn.o_proj.input_offset", bf16_nan);
  refused(layer + "self_attn.o_proj.input_scale", bf16_huge);
  refused(layer + "mlp.experts.0.up_proj.weight_scale", bf16_minus_one);
  refused(layer + "input_layernorm.weight", bf16_huge);
  refused(layer + "self_attn.kv_a_layernorm.weight", bf16_nan);
  refused(layer + "self_attn.fa_k.scale", bf16_huge);
  refused("model.norm.weight", bf16_nan);
}

TEST_F(Int8Checkpoint, AnAsymmetricWeightIsRefused) {
  const std::string tensor = "model.layers.1.mlp.experts.0.up_proj.weight_offset";
  damage(dir_, tensor, std::uint16_t{0x3f80});

  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [&] { load_model(dir_.path()); }),
              testing::HasSubstr(tensor + "': 0 expected"));
}

TEST(Weights, AnFp8EmbeddingIsRefused) {
  const Checkpoint model = Checkpoint::open(small_model("v3-fp8-small"));
  TensorMap tensors = model.tensors();
  TensorView& embedding = tensors.at("model.embed_tokens.weight");
  const std::vector<std::byte> codes(static_cast<std::size_t>(embedding.elements()));
  const std::vector<float> scales(4096, 1.0F);
  TensorView scale = embedding;
  scale.dtype = DType::kF32;
  scale.shape = {(embedding.shape[0] + 127) / 128, (embedding.shape[1] + 127) / 128};
  scale.bytes = std::as_bytes(std::span(scales)).first(static_cast<std::size_t>(scale.size_bytes()));
  embedding.dtype = DType::kF8E4M3;
  embedding.bytes = codes;
  tensors["model.embed_tokens.weight_scale_inv"] = scale;
  const auto load = [&] {
    load_weights(
        std::make_shared<const Checkpoint>(Checkpoint::of_tensors(model.config(), std::move(tensors))));
  };

  EXPECT_THAT(error_of(ErrorCode::kUnsupported, load),
              testing::HasSubstr("'model.embed_tokens.weight': type F32"));
}

// Mistral Small 4 has one scale per fp8 tensor and writes static scales of inputs, which nobody reads here.
TEST(Weights, OneScalePerFp8TensorIsThatOfEveryBlock) {
  const Checkpoint model = Checkpoint::open(small_model("v3-fp8-small"));
  ModelConfig config = model.config();
  config.weight_block_size.reset();
  const std::vector<float> same(64, 0x1p-12F);
  TensorMap blocks = model.tensors(), whole;
  for (auto& [name, view] : blocks)
    if (name.ends_with("_scale_inv"))
      view.bytes = std::as_bytes(std::span(same)).first(static_cast<std::size_t>(view.size_bytes()));
  for (const auto& [name, view] : blocks) {
    const bool scale = name.ends_with("_scale_inv");
    whole.emplace(name, scale ? TensorView{DType::kF32, {}, view.bytes.first(4)} : view);
  }
  whole.emplace("model.layers.0.self_attn.o_proj.activation_scale", whole.at("model.norm.weight"));
  const auto logits = [&](TensorMap tensors) {
    const DeepseekModel loaded(
        load_weights(std::make_shared<const Checkpoint>(Checkpoint::of_tensors(config, std::move(tensors)))));
    return std::move(run_logits(loaded, {random_ids(9, config.vocab_size, 1)})[0]);
  };
  EXPECT_TRUE(bit_equal(logits(blocks), logits(whole)));
}

TEST(Weights, CopiedWeightsGiveTheSameLogitsAsMappedOnes) {
  const auto mapped = load_model(source_path("models/tiny-r1"));
  const auto copied = load_model(source_path("models/tiny-r1"), {.copy = true});
  const auto ids = random_ids(20, mapped->config().vocab_size, 8);

  EXPECT_TRUE(bit_equal(run_logits(*copied, {ids})[0], run_logits(*mapped, {ids})[0]));
}

TEST(Weights, ThoseThatAreCopiedSayHowLargeTheyAre) {
  const auto copied = load_model(source_path("models/tiny-r1"), {.copy = true});

  std::int64_t matrices = 0;
  for (const auto& [name, view] : copied->weights().checkpoint->tensors())
    if (view.shape.size() == 2) matrices += view.size_bytes();

  EXPECT_GE(copied->weights().storage.copy->bytes(), matrices);  // the engine takes them off what is mapped
}

TEST(Weights, MappedWeightsAreNotCopied) {
  const auto model = load_model(source_path("models/tiny-r1"));
  const TensorView& in_file = model->weights().checkpoint->get("model.layers.1.mlp.experts.3.up_proj.weight");

  EXPECT_EQ(model->weights().layers[1].moe->experts[3].up_proj.weight, in_file.bytes.data());
}

}  // namespace
}  // namespace latent8
