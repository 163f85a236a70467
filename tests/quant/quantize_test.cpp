#include "latent8/quantize.h"

#include <gmock/gmock.h>
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
#include "quant/calibrate/calibration.h"
#include "quant/quantize_fixture.h"
#include "quant/support.h"
#include "source/source_tensor.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

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
  EXPECT_EQ(read_file(o.out / "quant_model_description.json"),
            read_file(reference / "quant_model_description.json"));
  auto config = nlohmann::ordered_json::parse(read_file(o.out / "config.json"));
  for (const char* added : {"rope_parameters", "dtype"}) EXPECT_EQ(config.erase(added), 1U) << added;
  EXPECT_EQ(config.dump(), nlohmann::ordered_json::parse(read_file(reference / "config.json")).dump());
  const auto index = nlohmann::ordered_json::parse(
      read_file(o.out / "quant_model_weight_w8a8_dynamic.safetensors.index.json"));
  std::vector<std::string> indexed, described;
  for (const auto& [name, file] : index.at("weight_map").items()) indexed.push_back(name);
  for (const auto& [name, type] : checkpoint.quant()->entries()) described.push_back(name);
  EXPECT_EQ(indexed, described);
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

// What a fold of the latent may change; all of it stays float.
bool belongs_to_the_latent(const std::string& name) {
  return name.find(".kv_a_") != std::string::npos || name.find(".kv_b_proj") != std::string::npos;
}

TEST_F(QuantizeTest, KeepsFloatWeightsByteForByteExceptThoseOfTheLatent) {
  QuantizeOptions o = options();
  o.weights = QuantizeOptions::Weights::kFloat;
  const Checkpoint source = Checkpoint::open(kTinyR1), checkpoint = quantized(o);
  for (const auto& [name, view] : source.tensors())
    EXPECT_TRUE(belongs_to_the_latent(name) || std::ranges::equal(view.bytes, checkpoint.get(name).bytes))
        << name;
  EXPECT_EQ(checkpoint.tensors().size(), source.tensors().size() + std::size_t{6 * 6});
  EXPECT_TRUE(checkpoint.quant()->lists_fa_tensors(5));
}

TEST_F(QuantizeTest, LeavesADenseDownProjInFloatWhereInt8InputsCostTooMuch) {
  QuantizeOptions o = options();
  o.fallback = QuantizeOptions::Fallback::kAuto;
  const Checkpoint source = Checkpoint::open(kTinyR1), checkpoint = quantized(o);
  const std::string down = "model.layers.0.mlp.down_proj.weight";
  EXPECT_EQ(checkpoint.quant()->type_of(down), QuantType::kFloat);
  EXPECT_TRUE(std::ranges::equal(checkpoint.get(down).bytes, source.get(down).bytes));
  EXPECT_EQ(checkpoint.find(down + "_scale"), nullptr);
  EXPECT_EQ(checkpoint.quant()->type_of("model.layers.0.mlp.up_proj.weight"), QuantType::kW8A8Dynamic);
  EXPECT_TRUE(checkpoint.quant()->lists_fa_tensors(4));
  EXPECT_THAT(result_.warnings, testing::Contains(HasSubstr("layer 0: down_proj stays float")));
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

TEST_F(QuantizeTest, LeavesNothingBeside) {
  const QuantizeOptions o = options();
  quantize(o);
  EXPECT_FALSE(fs::exists(dir_ / "out.partial"));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(o.out)) names.insert(entry.path().filename().string());
  EXPECT_THAT(names, testing::UnorderedElementsAre(
                         "README.md", "SHA256SUMS", "config.json", "generation_config.json", "tokenizer.json",
                         "tokenizer_config.json", "quant_model_description.json",
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

TEST_F(QuantizeTest, ReportsEveryLayer) {
  QuantizeOptions o = options();
  std::set<std::int64_t> calibrated;
  std::set<std::string> parts;
  std::int64_t bytes = 0;
  o.progress = [&](const QuantizeProgress& p) {
    if (p.stage == QuantizeProgress::Stage::kCalibrate) calibrated.insert(p.layer);
    parts.insert(p.part);
    EXPECT_EQ(p.n_layers, 6);
    EXPECT_GE(p.bytes, bytes);
    bytes = p.bytes;
    if (p.stage == QuantizeProgress::Stage::kFinish) EXPECT_EQ(p.bytes, p.total_bytes);
  };
  quantize(o);
  EXPECT_THAT(calibrated, testing::ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(parts, testing::IsSupersetOf({"attention", "MLP", "experts 0 to 15 of 16", "lm_head"}));
}

TEST_F(QuantizeTest, MeasuresWhatInt8WeightsCost) {
  QuantizeOptions o = options();
  for (const LayerReport& layer : quantize(o).per_layer) {
    EXPECT_LT(layer.output_error_before, 0.02);
    EXPECT_LT(layer.output_error_after, 0.8 * layer.output_error_before);
    EXPECT_GT(layer.output_error_after, 0.0);
  }
  o.out = dir_ / "float";
  o.weights = QuantizeOptions::Weights::kFloat;
  for (const LayerReport& layer : quantize(o).per_layer) EXPECT_EQ(layer.output_error_before, 0.0);
}

TEST_F(QuantizeTest, SmoothsByTextsOfItsOwn) {
  QuantizeOptions o = options();
  const Checkpoint plain = quantized(o);
  const QuantizeResult before = result_;
  o.out = dir_ / "same";
  o.anti_calib = o.calib;
  const Checkpoint same = quantized(o);
  for (const auto& [name, view] : plain.tensors())
    EXPECT_TRUE(std::ranges::equal(same.get(name).bytes, view.bytes)) << name;

  o.out = dir_ / "other";
  o.anti_calib = dir_.write("anti.json", R"(["a a a a a a a a", "b b b b b b b b b b b b b"])");
  quantized(o);
  EXPECT_EQ(result_.prompts, before.prompts);
  EXPECT_EQ(result_.tokens, before.tokens);
  bool differs = false;
  for (std::size_t l = 0; l < before.per_layer.size(); ++l) {
    const LayerReport &a = before.per_layer[l], &b = result_.per_layer[l];
    EXPECT_EQ(a.k_scale, b.k_scale) << "statistics are of the calibration texts alone";
    differs |= !std::ranges::equal(a.smoothed, b.smoothed, {}, &LayerReport::Smoothed::error,
                                   &LayerReport::Smoothed::error);
  }
  EXPECT_TRUE(differs);
}

TEST_F(QuantizeTest, MarksWhatTextsAreFor) {
  const Tokenizer tokenizer = Tokenizer::load(kTinyR1);
  const ModelConfig config = Checkpoint::open(kTinyR1).config();
  const auto prompts = tokenize_prompts(tokenizer, config, {"one", "both"}, {"both", "two"});
  ASSERT_EQ(prompts.size(), 3U);
  const auto uses = [&](std::size_t i) { return std::pair(prompts[i].statistics, prompts[i].smoothing); };
  EXPECT_EQ(uses(0), std::pair(true, false));
  EXPECT_EQ(uses(1), std::pair(true, true));
  EXPECT_EQ(uses(2), std::pair(false, true));
  EXPECT_EQ(prompts[2].ids, tokenize_prompts(tokenizer, config, {"two"})[0].ids);
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

}  // namespace
}  // namespace latent8
