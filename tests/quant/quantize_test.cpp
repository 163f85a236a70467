#include "latent8/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "formats/checkpoint.h"
#include "formats/fa_tensors.h"
#include "model/weights.h"
#include "quant/calibration.h"
#include "quant/source_tensor.h"
#include "quant/support.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kTinyR1 = fs::path(LATENT8_SOURCE_DIR) / "models/tiny-r1";
const fs::path kGolden = fs::path(LATENT8_SOURCE_DIR) / "tests/data/golden/msmodelslim";

// Two short prompts: what is tested here does not depend on how many there are.
constexpr const char* kPrompts =
    R"(["What is deep learning? Deep learning trains networks of many layers on data.",)"
    R"( "def mean(values):\n    return sum(values) / len(values)\n"])";

class QuantizeTest : public testing::Test {
 protected:
  QuantizeOptions options(const fs::path& model = kTinyR1) {
    QuantizeOptions o;
    o.model = model;
    o.out = dir_ / "out";
    o.fa_quant = true;
    o.calib = dir_.write("calib.json", kPrompts);
    o.threads = 1;
    return o;
  }
  Checkpoint quantized(const QuantizeOptions& o) {
    result_ = quantize(o);
    return Checkpoint::open(o.out);
  }
  nlohmann::json json(const char* name) { return nlohmann::json::parse(read_file(dir_ / "out" / name)); }

  TempDir dir_;
  QuantizeResult result_;
};

TEST_F(QuantizeTest, WritesACheckpointThatLoads) {
  auto checkpoint = std::make_shared<const Checkpoint>(quantized(options()));
  const ModelWeights model = load_weights(checkpoint);
  ASSERT_EQ(model.layers.size(), 5U);
  for (const LayerWeights& layer : model.layers) {
    EXPECT_EQ(layer.attention.q_a_proj->kind, Linear::Kind::kW8A8Static);
    EXPECT_EQ(layer.attention.o_proj.kind, Linear::Kind::kW8A8Static);
    EXPECT_TRUE(same_input(*layer.attention.q_a_proj, layer.attention.kv_a_proj_with_mqa));
    ASSERT_TRUE(layer.attention.fa.has_value());
    EXPECT_EQ(layer.attention.fa->q.size(), 4U);
  }
  EXPECT_EQ(model.layers[1].moe->experts[3].up_proj.kind, Linear::Kind::kW8A8Dynamic);
  EXPECT_TRUE(model.mtp.has_value());
  EXPECT_EQ(result_.layers, 5);
  EXPECT_EQ(result_.prompts, 2);
}

TEST_F(QuantizeTest, ListsEveryTensorInTheDescriptionAndInTheIndex) {
  const Checkpoint checkpoint = quantized(options());
  std::int64_t stored = 0, bytes = 0;
  for (const SafetensorsFile& file : checkpoint.files())
    for (const auto& [name, view] : file.tensors()) {
      EXPECT_TRUE(checkpoint.quant()->type_of(name).has_value()) << name;
      ++stored;
      bytes += static_cast<std::int64_t>(view.bytes.size());
    }
  EXPECT_EQ(static_cast<std::size_t>(stored), checkpoint.quant()->entries().size());
  const nlohmann::json index = json("quant_model_weight_w8a8_dynamic.safetensors.index.json");
  EXPECT_EQ(index.at("weight_map").size(), static_cast<std::size_t>(stored));
  EXPECT_EQ(index.at("metadata").at("total_size").get<std::int64_t>(), bytes);
  EXPECT_EQ(result_.bytes_out, bytes);
}

TEST_F(QuantizeTest, WritesNamesInTheOrderOfTheReference) {
  QuantizeOptions o = options();
  o.format = QuantizeOptions::Format::kAscendV1;
  o.dynamic = true;
  o.mtp = QuantizeOptions::Mtp::kNone;
  const Checkpoint checkpoint = quantized(o);
  const fs::path reference = kGolden / "c_ascendv1_dynamic_noanti";
  for (const char* name : {"quant_model_description.json", "config.json",
                           "quant_model_weight_w8a8_dynamic.safetensors.index.json"})
    EXPECT_EQ(read_file(o.out / name), read_file(reference / name)) << name;
}

TEST_F(QuantizeTest, WritesTheTypesAndShapesOfTheReference) {
  const Checkpoint ours = quantized(options());
  const Checkpoint reference = Checkpoint::open(kGolden / "a_mindie_m4_static");
  for (const auto& [name, view] : reference.tensors()) {
    if (name.ends_with(".bias")) continue;  // of the reference's smoothing
    EXPECT_EQ(to_string(ours.get(name).dtype), to_string(view.dtype)) << name;
    EXPECT_EQ(ours.get(name).shape, view.shape) << name;
  }
}

TEST_F(QuantizeTest, RoundsWeightsAsTheReferenceButWithOneRounding) {
  const Checkpoint ours = quantized(options());
  const Checkpoint reference = Checkpoint::open(kGolden / "a_mindie_m4_static");
  const std::string name = "model.layers.2.mlp.experts.5.down_proj";  // not smoothed by the reference
  const auto bytes = [&](const Checkpoint& c, const char* part) { return c.get(name + part).bytes; };
  EXPECT_TRUE(std::ranges::equal(bytes(ours, ".weight_scale"), bytes(reference, ".weight_scale")));
  std::int64_t different = 0;
  const auto a = bytes(ours, ".weight"), b = bytes(reference, ".weight");
  for (std::size_t i = 0; i < a.size(); ++i) {
    const int difference = static_cast<std::int8_t>(a[i]) - static_cast<std::int8_t>(b[i]);
    ASSERT_LE(std::abs(difference), 1);
    different += difference != 0 ? 1 : 0;
  }
  EXPECT_GT(different, 0);  // it rounds the quotient to bfloat16 first
  EXPECT_LT(different, static_cast<std::int64_t>(a.size()) / 8);
}

// The bytes of layer 0's head 2 rows of q_b_proj, nope part, [64, 128] bfloat16.
void scale_head_2(std::span<char> q_b) {
  constexpr std::size_t kRow = 128 * 2, kBegin = 2 * 128 * kRow, kEnd = kBegin + 64 * kRow;
  for (std::size_t i = kBegin; i < kEnd; i += 2) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, q_b.data() + i, 2);
    const Bf16 times_four = to_bf16(4.0F * to_float(Bf16{bits}));
    std::memcpy(q_b.data() + i, &times_four.bits, 2);
  }
}

TEST_F(QuantizeTest, GivesEveryHeadItsOwnQueryScale) {
  QuantizeOptions o = options();
  o.weights = QuantizeOptions::Weights::kFloat;
  const FaScales before = read_fa_scales(quantized(o), 0, 4).value();
  TempDir changed;
  changed.copy_from(kTinyR1);
  change_tensor(changed / "model.safetensors", "model.layers.0.self_attn.q_b_proj.weight", scale_head_2);
  o.model = changed.path();
  o.overwrite = true;
  const FaScales after = read_fa_scales(quantized(o), 0, 4).value();
  for (std::size_t head = 0; head < 4; ++head)
    EXPECT_EQ(after.q[head], before.q[head] * (head == 2 ? 4.0F : 1.0F)) << head;
  EXPECT_EQ(after.k, before.k);
}

TEST_F(QuantizeTest, MakesAttentionDynamicIfAsked) {
  QuantizeOptions o = options();
  o.dynamic = true;
  auto checkpoint = std::make_shared<const Checkpoint>(quantized(o));
  const ModelWeights model = load_weights(checkpoint);
  EXPECT_EQ(model.layers[0].attention.q_b_proj->kind, Linear::Kind::kW8A8Dynamic);
  EXPECT_EQ(checkpoint->find("model.layers.0.self_attn.q_b_proj.deq_scale"), nullptr);
}

TEST_F(QuantizeTest, NeedsNoPromptsWhereNothingIsObserved) {
  QuantizeOptions o = options();
  o.dynamic = true;
  o.fa_quant = false;
  o.calib = "/nowhere/calib.json";
  const Checkpoint checkpoint = quantized(o);
  EXPECT_EQ(result_.tokens, 0);
  EXPECT_FALSE(checkpoint.quant()->lists_fa_tensors(0));
}

TEST_F(QuantizeTest, KeepsFloatWeightsByteForByte) {
  QuantizeOptions o = options();
  o.weights = QuantizeOptions::Weights::kFloat;
  const Checkpoint source = Checkpoint::open(kTinyR1), checkpoint = quantized(o);
  for (const auto& [name, view] : source.tensors())
    EXPECT_TRUE(std::ranges::equal(view.bytes, checkpoint.get(name).bytes)) << name;
  EXPECT_EQ(checkpoint.tensors().size(), source.tensors().size() + std::size_t{5 * 6});
  EXPECT_TRUE(checkpoint.quant()->lists_fa_tensors(4));
}

TEST_F(QuantizeTest, WritesBothNamesOfTheDescriptionForMindie) {
  quantize(options());
  const std::string text = read_file(dir_ / "out/quant_model_description.json");
  EXPECT_EQ(text, read_file(dir_ / "out/quant_model_description_w8a8_dynamic.json"));
  EXPECT_THAT(text, HasSubstr(R"("fa_quant_type": "FAKQuant")"));
  const nlohmann::json config = json("config.json");
  EXPECT_EQ(config.at("model_type"), "deepseekv2");
  EXPECT_EQ(config.at("quantize"), "w8a8_dynamic");
  EXPECT_EQ(config.at("quantization_config").at("fa_quant_type"), "FAKQuant");
}

TEST_F(QuantizeTest, LeavesOutTheMtpLayerIfAsked) {
  QuantizeOptions o = options();
  o.mtp = QuantizeOptions::Mtp::kNone;
  const Checkpoint checkpoint = quantized(o);
  EXPECT_FALSE(has_mtp(checkpoint));
  EXPECT_FALSE(fs::exists(o.out / "mtp_float-1.safetensors"));
}

TEST_F(QuantizeTest, LeavesNothingBeside) {
  const QuantizeOptions o = options();
  quantize(o);
  EXPECT_FALSE(fs::exists(dir_ / "out.partial"));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(o.out)) names.insert(entry.path().filename().string());
  EXPECT_THAT(names, testing::UnorderedElementsAre(
                         "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                         "mtp_float-1.safetensors", "quant_model_description.json",
                         "quant_model_description_w8a8_dynamic.json",
                         "quant_model_weight_w8a8_dynamic-00001-of-00001.safetensors",
                         "quant_model_weight_w8a8_dynamic.safetensors.index.json"));
}

TEST_F(QuantizeTest, AlignsInt8MatricesTo64Bytes) {
  const Checkpoint checkpoint = quantized(options());
  for (const auto& [name, view] : checkpoint.tensors())
    if (view.dtype == DType::kI8 && view.bytes.size() % 64 == 0)
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.bytes.data()) % 64, 0U) << name;
}

TEST_F(QuantizeTest, IsTheSameForAnyNumberOfThreads) {
  QuantizeOptions o = options();
  quantize(o);
  const std::string one = read_file(o.out / "quant_model_weight_w8a8_dynamic-00001-of-00001.safetensors");
  o.threads = 3;
  o.overwrite = true;
  quantize(o);
  EXPECT_TRUE(one == read_file(o.out / "quant_model_weight_w8a8_dynamic-00001-of-00001.safetensors"));
}

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
  const fs::path fp8 = fs::path(LATENT8_SOURCE_DIR) / "tests/data/golden/v3-fp8-small";
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

// A tokenizer whose tokens are BOS and single bytes, those of printable ASCII first: test models have 192.
void write_character_tokenizer(const TempDir& dir) {
  nlohmann::json vocab;
  // Code points that stand for bytes in byte-level vocabularies; those from 256 for bytes without a shape.
  std::int64_t next = 1;
  for (int code = '!'; code < 256 + 68; ++code) {
    if ((code > '~' && code < 0xa1) || code == 0xad) continue;
    std::string text(1, static_cast<char>(code));
    if (code > '~') text = {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
    vocab[text] = next++;
  }
  const nlohmann::json bos{{"id", 0},         {"content", "<s>"},    {"special", true},     {"lstrip", false},
                           {"rstrip", false}, {"normalized", false}, {"single_word", false}};
  const nlohmann::json level{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const nlohmann::json file{
      {"added_tokens", {bos}},
      {"normalizer", nullptr},
      {"pre_tokenizer", level},
      {"decoder", level},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  dir.write("tokenizer.json", file.dump());
  dir.write("tokenizer_config.json", R"({"bos_token": "<s>"})");
}

class QuantizeFamily : public QuantizeTest, public testing::WithParamInterface<const char*> {};

TEST_P(QuantizeFamily, QuantisesWithStaticAttentionAndFaScales) {
  TempDir source;
  source.copy_from(fs::path(LATENT8_SOURCE_DIR) / "tests/data/golden" / GetParam());
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
                         testing::Values("v2-lite-small", "v2-small", "v3-fp8-small", "kimi-k2-small"),
                         [](const auto& p) {
                           std::string name = p.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_F(QuantizeTest, KeepsFp8WeightsInTheirStoredForm) {
  TempDir source;
  source.copy_from(fs::path(LATENT8_SOURCE_DIR) / "tests/data/golden/v3-fp8-small");
  write_character_tokenizer(source);
  QuantizeOptions o = options(source.path());
  o.calib = dir_.write("calib.json", R"(["deep-learning"])");
  o.weights = QuantizeOptions::Weights::kFloat;
  auto checkpoint = std::make_shared<const Checkpoint>(quantized(o));
  EXPECT_EQ(checkpoint->get("model.layers.1.self_attn.q_b_proj.weight").dtype, DType::kF8E4M3);
  EXPECT_EQ(load_weights(checkpoint).layers[1].attention.q_b_proj->type, WeightType::kF8E4M3);
  EXPECT_TRUE(json("config.json").at("quantization_config").contains("weight_block_size"));
}

TEST_F(QuantizeTest, ReportsEveryLayer) {
  QuantizeOptions o = options();
  std::vector<std::int64_t> calibrated;
  std::int64_t bytes = 0;
  o.progress = [&](const QuantizeProgress& p) {
    if (p.stage == QuantizeProgress::Stage::kCalibrate) calibrated.push_back(p.layer);
    EXPECT_EQ(p.n_layers, 5);
    EXPECT_GE(p.bytes, bytes);
    bytes = p.bytes;
    if (p.stage == QuantizeProgress::Stage::kFinish) EXPECT_EQ(p.bytes, p.total_bytes);
  };
  quantize(o);
  EXPECT_THAT(calibrated, testing::ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(QuantizeTest, RunsWithTheBuiltInPrompts) {
  const std::vector<std::string> prompts = read_prompts({});
  EXPECT_GE(prompts.size(), 40U);
  const Tokenizer tokenizer = Tokenizer::load(kTinyR1);
  const ModelConfig config = Checkpoint::open(kTinyR1).config();
  for (const CalibrationPrompt& prompt : tokenize_prompts(tokenizer, config, prompts)) {
    EXPECT_GE(prompt.ids.size(), 100U);
    EXPECT_EQ(prompt.counts[0], 0);  // BOS
    const auto special = std::count(prompt.counts.begin(), prompt.counts.end(), 0);
    EXPECT_LE(special, 3);  // a prompt has <think> and </think>
  }
}

class QuantizeRefusals : public QuantizeTest {
 protected:
  // The message, after checking that nothing was left behind.
  std::string refusal(const QuantizeOptions& o, ErrorCode code = ErrorCode::kInvalidArgument) {
    const std::string message = error_of(code, [&] { quantize(o); });
    EXPECT_FALSE(fs::exists(o.out.string() + ".partial"));
    return message;
  }
};

TEST_F(QuantizeRefusals, RefusesAQuantisedSource) {
  EXPECT_THAT(refusal(options(kGolden / "a_mindie_m4_static")), HasSubstr("quantised already"));
}

TEST_F(QuantizeRefusals, RefusesAFolderWithFilesOfSomebodyElse) {
  QuantizeOptions o = options();
  fs::create_directory(o.out);
  dir_.write("out/letter.txt", "precious");
  EXPECT_THAT(refusal(o), HasSubstr("empty or absent folder expected"));
  o.overwrite = true;
  EXPECT_THAT(refusal(o), HasSubstr("only a quantised checkpoint is overwritten"));
  EXPECT_EQ(read_file(dir_ / "out/letter.txt"), "precious");
}

TEST_F(QuantizeRefusals, NeverWritesIntoTheSource) {
  QuantizeOptions o = options();
  o.out = kTinyR1 / "quantised";
  EXPECT_THAT(refusal(o), HasSubstr("outside the source"));
}

TEST_F(QuantizeRefusals, RefusesFloatWeightsWithoutScalesOfTheCache) {
  QuantizeOptions o = options();
  o.weights = QuantizeOptions::Weights::kFloat;
  o.fa_quant = false;
  EXPECT_THAT(refusal(o), HasSubstr("fa_quant"));
}

TEST_F(QuantizeRefusals, NamesTheEntryThatIsNoPrompt) {
  QuantizeOptions o = options();
  o.calib = dir_.write("calib.json", R"(["text", 7])");
  EXPECT_THAT(refusal(o), HasSubstr("entry 1"));
  o.calib = dir_.write("calib.json", "[]");
  EXPECT_THAT(refusal(o), HasSubstr("empty"));
}

TEST_F(QuantizeRefusals, NamesAPromptLongerThanTheContext) {
  QuantizeOptions o = options();
  std::string text;
  for (int i = 0; i < 9000; ++i) text += "a, ";
  o.calib = dir_.write("calib.json", nlohmann::json{"short", text}.dump());
  EXPECT_THAT(refusal(o), HasSubstr("prompt 1: at most 8192 tokens"));
}

TEST_F(QuantizeRefusals, NamesAWeightThatIsNotFinite) {
  TempDir source;
  source.copy_from(kTinyR1);
  const std::string name = "model.layers.2.self_attn.kv_a_layernorm.weight";
  change_tensor(source / "model.safetensors", name, [](std::span<char> bytes) {
    const std::uint16_t nan = 0x7fc0;
    std::memcpy(bytes.data() + 8, &nan, sizeof(nan));
  });
  EXPECT_THAT(refusal(options(source.path()), ErrorCode::kCorrupt), HasSubstr(name));
}

}  // namespace
}  // namespace latent8
