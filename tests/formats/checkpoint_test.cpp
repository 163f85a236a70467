#include "formats/checkpoint.h"

#include "formats/atomic_file.h"
#include "formats/safetensors_index.h"
#include "formats/safetensors_writer.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kTiny = LATENT8_SOURCE_DIR "/models/tiny-r1";
const std::string kGolden = LATENT8_SOURCE_DIR "/tests/data/golden/msmodelslim/a_mindie_m4_static";
constexpr const char* kConfig = R"({"model_type": "deepseek_v3", "vocab_size": 8, "hidden_size": 8,
  "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "n_routed_experts": 0})";

// A file of one-byte tensors, all with this value.
void write_shard(const TempDir& dir, const std::string& file, const std::vector<std::string>& names,
                 int value) {
  std::vector<TensorToWrite> tensors;
  for (const std::string& name : names) tensors.push_back({name, DType::kI8, {1}});
  SafetensorsWriter writer(dir / file, tensors);
  const std::byte byte{static_cast<unsigned char>(value)};
  for (const std::string& name : names) writer.append(name, {&byte, 1});
  writer.finish();
}

int value_of(const Checkpoint& checkpoint, std::string_view name) {
  return std::to_integer<int>(checkpoint.get(name).bytes[0]);
}

std::string refusal(const TempDir& dir, ErrorCode code) {
  return error_of(code, [&] { Checkpoint::open(dir.path()); });
}

TEST(Checkpoint, OpensTheEmbeddedModel) {
  const Checkpoint checkpoint = Checkpoint::open(kTiny);

  EXPECT_EQ(checkpoint.quant(), nullptr);
  EXPECT_EQ(checkpoint.config().num_hidden_layers, 5);
  EXPECT_EQ(checkpoint.get("model.embed_tokens.weight").shape_text(), "[4096, 256]");
  EXPECT_EQ(checkpoint.find("no.such"), nullptr);
}

TEST(Checkpoint, OpensACheckpointOfTheReference) {
  const Checkpoint checkpoint = Checkpoint::open(kGolden);

  ASSERT_NE(checkpoint.quant(), nullptr);
  EXPECT_EQ(checkpoint.quant()->type_of("model.layers.0.self_attn.o_proj.weight"), QuantType::kW8A8);
  EXPECT_EQ(checkpoint.get("model.layers.0.self_attn.o_proj.weight").dtype, DType::kI8);
  EXPECT_EQ(checkpoint.config().fa_quant_type, "FAKQuant");
  EXPECT_EQ(checkpoint.tensors().size(), checkpoint.quant()->entries().size());
}

TEST(Checkpoint, LeavesOutTheNormDoublesOfTheReference) {
  const Checkpoint checkpoint = Checkpoint::open(kGolden);

  EXPECT_NE(checkpoint.find("model.layers.0.input_layernorm.bias"), nullptr);
  EXPECT_EQ(checkpoint.find("model.layers.0.input_layernorm.module.bias"), nullptr);
  EXPECT_EQ(checkpoint.files()[0].tensors().count("model.layers.0.input_layernorm.module.bias"), 1U);
}

std::string nested_config() {
  return std::string(R"({"model_type": "kimi_k25", "text_config": )") + kConfig + "}";
}

TEST(Checkpoint, ReadsTheLanguageModelOfAModelWithImages) {
  const TempDir dir;
  dir.write("config.json", nested_config());
  write_shard(dir, "a.safetensors",
              {"language_model.model.norm.weight", "language_model.lm_head.weight",
               "vision_tower.norm.weight", "mm_projector.linear.weight"},
              5);
  const Checkpoint checkpoint = Checkpoint::open(dir.path());

  EXPECT_EQ(checkpoint.tensors().size(), 2U);
  EXPECT_EQ(value_of(checkpoint, "model.norm.weight"), 5);
  EXPECT_EQ(value_of(checkpoint, "lm_head.weight"), 5);
  EXPECT_EQ(checkpoint.place_of("lm_head.weight").file, 0U);
}

TEST(Checkpoint, ReadsTheLanguageModelAsTransformers5NamesIt) {
  const TempDir dir;
  dir.write("config.json", nested_config());
  write_shard(dir, "a.safetensors",
              {"model.language_model.norm.weight", "lm_head.weight", "model.vision_tower.norm.weight"}, 6);
  const Checkpoint checkpoint = Checkpoint::open(dir.path());

  EXPECT_EQ(checkpoint.tensors().size(), 2U);
  EXPECT_EQ(value_of(checkpoint, "model.norm.weight"), 6);
  EXPECT_EQ(value_of(checkpoint, "lm_head.weight"), 6);
}

TEST(Checkpoint, ReadsAllFilesWithoutAnIndex) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  write_shard(dir, "a.safetensors", {"x"}, 1);
  write_shard(dir, "b.safetensors", {"y"}, 2);

  const Checkpoint checkpoint = Checkpoint::open(dir.path());

  EXPECT_EQ(value_of(checkpoint, "x"), 1);
  EXPECT_EQ(value_of(checkpoint, "y"), 2);
}

TEST(Checkpoint, TheIndexDecidesWhichFileATensorComesFrom) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  write_shard(dir, "a.safetensors", {"x", "y"}, 1);
  write_shard(dir, "b.safetensors", {"y"}, 2);
  write_shard(dir, "unused.safetensors", {"x", "y"}, 3);
  dir.write("any_name.safetensors.index.json",
            safetensors_index_json(99, {{"x", "a.safetensors"}, {"y", "b.safetensors"}}));

  const Checkpoint checkpoint = Checkpoint::open(dir.path());

  EXPECT_EQ(value_of(checkpoint, "x"), 1);
  EXPECT_EQ(value_of(checkpoint, "y"), 2);
  EXPECT_EQ(checkpoint.files().size(), 2U);
}

TEST(Checkpoint, ViewsSurviveAMove) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  write_shard(dir, "a.safetensors", {"x"}, 7);
  Checkpoint first = Checkpoint::open(dir.path());
  const TensorView& view = first.get("x");

  const Checkpoint second = std::move(first);

  EXPECT_EQ(std::to_integer<int>(view.bytes[0]), 7);
  EXPECT_EQ(value_of(second, "x"), 7);
}

TEST(Checkpoint, ATensorThatIsNotThereIsNamedWithSimilarOnes) {
  const Checkpoint checkpoint = Checkpoint::open(kTiny);

  const std::string message = error_of(
      ErrorCode::kNotFound, [&] { checkpoint.get("model.layers.2.self_attn.kv_b_proj.weight_scale"); });

  EXPECT_THAT(message, HasSubstr("'model.layers.2.self_attn.kv_b_proj.weight_scale'"));
  EXPECT_THAT(message, HasSubstr("similar names: model.layers.2.self_attn.kv_b_proj.weight"));
  EXPECT_THAT(message, HasSubstr(kTiny));
}

TEST(Checkpoint, AMissingFolderIsNamed) {
  EXPECT_THAT(error_of(ErrorCode::kNotFound, [] { Checkpoint::open("/nowhere/model"); }),
              HasSubstr("/nowhere/model"));
}

TEST(Checkpoint, AFolderWithoutConfigIsRefused) {
  const TempDir dir;
  write_shard(dir, "a.safetensors", {"x"}, 1);

  EXPECT_THAT(refusal(dir, ErrorCode::kNotFound), HasSubstr("config.json expected"));
}

TEST(Checkpoint, AFolderWithoutTensorsIsRefused) {
  const TempDir dir;
  dir.write("config.json", kConfig);

  EXPECT_THAT(refusal(dir, ErrorCode::kNotFound), HasSubstr("*.safetensors expected"));
}

TEST(Checkpoint, AMissingShardIsNamed) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  dir.write("m.safetensors.index.json", safetensors_index_json(1, {{"x", "m-00001-of-00002.safetensors"}}));

  EXPECT_THAT(refusal(dir, ErrorCode::kNotFound),
              HasSubstr("'m-00001-of-00002.safetensors', but there is no such file"));
}

TEST(Checkpoint, ATensorThatItsShardDoesNotHaveIsNamed) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  write_shard(dir, "a.safetensors", {"x"}, 1);
  dir.write("m.safetensors.index.json", safetensors_index_json(1, {{"y", "a.safetensors"}}));

  EXPECT_THAT(refusal(dir, ErrorCode::kCorrupt), HasSubstr("tensor 'y' expected in 'a.safetensors'"));
}

TEST(Checkpoint, ATensorInTwoFilesIsRefusedWithoutAnIndex) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  write_shard(dir, "a.safetensors", {"x"}, 1);
  write_shard(dir, "b.safetensors", {"x"}, 2);

  EXPECT_THAT(refusal(dir, ErrorCode::kCorrupt),
              HasSubstr("tensor 'x' once expected, got it in 'b.safetensors'"));
}

TEST(Checkpoint, TwoIndexFilesAreRefused) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  dir.write("a.safetensors.index.json", "{}");
  dir.write("b.safetensors.index.json", "{}");

  EXPECT_THAT(refusal(dir, ErrorCode::kInvalidArgument), HasSubstr("'a.safetensors.index.json' and 'b."));
}

TEST(Checkpoint, ATruncatedShardIsNamed) {
  const TempDir dir;
  dir.copy_from(kGolden);
  const std::string shard = "quant_model_weight_w8a8_dynamic-00001-of-00001.safetensors";
  std::filesystem::resize_file(dir / shard, 1'000'000);

  const std::string message = refusal(dir, ErrorCode::kCorrupt);

  EXPECT_THAT(message, HasSubstr(shard));
  EXPECT_THAT(message, HasSubstr("truncated"));
}

TEST(Checkpoint, AQuantisedCheckpointWithoutItsDescriptionIsRefused) {
  const TempDir dir;
  dir.copy_from(kGolden);
  std::filesystem::remove(dir / "quant_model_description_w8a8_dynamic.json");

  EXPECT_THAT(refusal(dir, ErrorCode::kNotFound), HasSubstr("quant_model_description*.json is expected"));
}

TEST(Checkpoint, TheTypeOfTheCacheMayComeFromEitherFile) {
  const TempDir dir;
  dir.write("config.json", std::string(kConfig).substr(0, std::string(kConfig).size() - 1) +
                               R"(, "quantization_config": {"fa_quant_type": "FAKQuant"}})");
  dir.write("quant_model_description.json", R"({"model_quant_type": "W8A8", "x": "FLOAT"})");
  write_shard(dir, "a.safetensors", {"x"}, 1);

  EXPECT_EQ(Checkpoint::open(dir.path()).quant()->fa_quant_type, "FAKQuant");

  dir.write("config.json", kConfig);
  dir.write("quant_model_description.json",
            R"({"model_quant_type": "W8A8", "fa_quant_type": "FAQuant", "x": "FLOAT"})");
  EXPECT_EQ(Checkpoint::open(dir.path()).config().fa_quant_type, "FAQuant");
}

TEST(Checkpoint, EndTokensOfTheGenerationConfigAreRead) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  dir.write("generation_config.json", R"({"eos_token_id": [3, 4]})");
  write_shard(dir, "a.safetensors", {"x"}, 1);

  EXPECT_THAT(Checkpoint::open(dir.path()).config().eos_token_ids, ElementsAre(3, 4));
}

TEST(Checkpoint, ABrokenGenerationConfigIsNamed) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  dir.write("generation_config.json", "{");
  write_shard(dir, "a.safetensors", {"x"}, 1);

  EXPECT_THAT(refusal(dir, ErrorCode::kCorrupt), HasSubstr("generation_config.json: "));
}

TEST(Checkpoint, SaysWhereATensorLies) {
  const TempDir dir;
  dir.write("config.json", kConfig);
  write_shard(dir, "a.safetensors", {"x", "y"}, 1);
  write_shard(dir, "b.safetensors", {"z"}, 2);

  const Checkpoint checkpoint = Checkpoint::open(dir.path());
  const TensorPlace y = checkpoint.place_of("y"), z = checkpoint.place_of("z");

  EXPECT_EQ(checkpoint.files()[y.file].path().filename(), "a.safetensors");
  EXPECT_EQ(y.offset, checkpoint.place_of("x").offset + 1);
  EXPECT_EQ(read_file(checkpoint.files()[z.file].path()).at(static_cast<std::size_t>(z.offset)), 2);
  EXPECT_EQ(static_cast<std::size_t>(z.offset), checkpoint.files()[z.file].header().size());
}

TEST(Checkpoint, CanBeMadeOfTensorsInMemory) {
  const std::vector<std::byte> bytes{std::byte{7}, std::byte{8}};
  ModelConfig config;
  config.hidden_size = 12;

  const Checkpoint checkpoint = Checkpoint::of_tensors(config, {{"x", {DType::kI8, {2}, bytes}}});

  EXPECT_EQ(value_of(checkpoint, "x"), 7);
  EXPECT_EQ(checkpoint.config().hidden_size, 12);
  EXPECT_EQ(checkpoint.quant(), nullptr);
  EXPECT_THAT(error_of(ErrorCode::kNotFound, [&] { checkpoint.get("y"); }), HasSubstr("'y'"));
}

}  // namespace
}  // namespace latent8
