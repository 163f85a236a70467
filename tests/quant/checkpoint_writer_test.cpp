#include "quant/checkpoint_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "formats/checkpoint.h"
#include "formats/safetensors_index.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

const fs::path kTinyR1 = fs::path(LATENT8_SOURCE_DIR) / "models/tiny-r1";

void write_zeros(ShardWriter& writer, const std::vector<PlannedModule>& modules) {
  for (const PlannedModule& module : modules)
    for (const PlannedTensor& planned : module.tensors)
      writer.append(planned.tensor.name,
                    std::vector<std::byte>(static_cast<std::size_t>(planned.tensor.bytes())));
}

void write_all(ShardWriter& writer, const CheckpointPlan& plan) {
  write_zeros(writer, plan.embedding);
  for (const auto& layer : plan.layers) write_zeros(writer, layer);
  write_zeros(writer, plan.head);
  write_zeros(writer, plan.mtp);
  writer.finish();
}

TEST(ShardWriter, StartsAShardBeforeItReachesTheLimit) {
  constexpr std::int64_t kLimit = 3 << 20;
  const Checkpoint source = Checkpoint::open(kTinyR1);
  const CheckpointPlan plan = plan_checkpoint(source, {});
  TempDir dir;
  ShardWriter writer(dir.path(), plan, "w8a8_dynamic", kLimit);
  write_all(writer, plan);
  const SafetensorsIndex index = parse_safetensors_index(
      read_file(dir / "quant_model_weight_w8a8_dynamic.safetensors.index.json"), "index");
  std::set<std::string> files;
  for (const auto& [name, file] : index.weight_map) files.insert(file);
  std::int64_t total = 0;
  for (const std::string& file : files) {
    const SafetensorsFile shard(dir / file);
    std::int64_t bytes = 0;
    for (const auto& [name, view] : shard.tensors()) bytes += static_cast<std::int64_t>(view.bytes.size());
    if (!file.starts_with("mtp_float")) EXPECT_LT(bytes, kLimit) << file;
    total += bytes;
  }
  EXPECT_EQ(total, writer.total());
  EXPECT_EQ(index.weight_map.size(), static_cast<std::size_t>(writer.tensors()));
  EXPECT_TRUE(files.contains("quant_model_weight_w8a8_dynamic-00001-of-00005.safetensors"));
  EXPECT_TRUE(files.contains("mtp_float-1.safetensors"));
}

TEST(QuantizedConfig, DropsTheBlocksOfAnFp8Source) {
  const std::string source =
      R"({"model_type": "deepseek_v3", "quantization_config": {"weight_block_size": [128, 128]}, "x": 1})";
  QuantizeOptions options;
  options.format = QuantizeOptions::Format::kAscendV1;
  const std::string without = quantized_config(source, {}, options);
  EXPECT_THAT(without, Not(HasSubstr("quantization_config")));
  EXPECT_THAT(without, HasSubstr(R"("model_type": "deepseek_v3")"));
  options.fa_quant = true;
  const auto with = nlohmann::json::parse(quantized_config(source, {}, options));
  EXPECT_EQ(with.at("quantization_config"), (nlohmann::json{{"fa_quant_type", "FAKQuant"}}));
}

TEST(QuantizedConfig, KeepsTheOrderOfTheSource) {
  const std::string text = quantized_config(R"({"zebra": 1, "model_type": "deepseek_v3", "ape": 2})", {}, {});
  EXPECT_LT(text.find("zebra"), text.find("model_type"));
  EXPECT_LT(text.find("model_type"), text.find("ape"));
  EXPECT_LT(text.find("ape"), text.find("\"quantize\""));
}

TEST(CopyOtherFiles, TakesJsonPythonAndTemplatesOnly) {
  TempDir from, to;
  for (const char* name : {"config.json", "tokenizer.json", "modeling.py", "chat_template.jinja",
                           "model.safetensors.index.json", "model.safetensors", "README.md"})
    from.write(name, name);
  copy_other_files(from.path(), to.path());
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(to.path())) names.insert(entry.path().filename().string());
  EXPECT_THAT(names, testing::ElementsAre("chat_template.jinja", "modeling.py", "tokenizer.json"));
  EXPECT_EQ(read_file(to / "tokenizer.json"), "tokenizer.json");
}

}  // namespace
}  // namespace latent8
