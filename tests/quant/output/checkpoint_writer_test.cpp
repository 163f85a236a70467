#include "quant/output/checkpoint_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

TEST(QuantizedConfig, DropsTheBlocksOfAnFp8Source) {
  const std::string source =
      R"({"model_type": "deepseek_v3", "quantization_config": {"weight_block_size": [128, 128]}, "x": 1})";
  QuantizeOptions options;
  options.format = QuantizeOptions::Format::kAscendV1;
  const std::string without = quantized_config(source, {}, {}, options);
  EXPECT_THAT(without, Not(HasSubstr("quantization_config")));
  EXPECT_THAT(without, HasSubstr(R"("model_type": "deepseek_v3")"));
  options.fa_quant = true;
  const auto with = nlohmann::json::parse(quantized_config(source, {}, {}, options));
  EXPECT_EQ(with.at("quantization_config"), (nlohmann::json{{"fa_quant_type", "FAKQuant"}}));
}

TEST(QuantizedConfig, KeepsTheOrderOfTheSource) {
  const std::string text =
      quantized_config(R"({"zebra": 1, "model_type": "deepseek_v3", "ape": 2})", {}, {}, {});
  EXPECT_LT(text.find("zebra"), text.find("model_type"));
  EXPECT_LT(text.find("model_type"), text.find("ape"));
  EXPECT_LT(text.find("ape"), text.find("\"quantize\""));
}

// The reference's own bytes stay as they are.
TEST(QuantizedConfig, AssumesNothingForTheReferencesMode) {
  QuantizeOptions options;
  options.compat = QuantizeOptions::Compat::kMsmodelslim;
  const std::string text = quantized_config(R"({"model_type": "deepseek_v3"})", {}, {}, options);
  EXPECT_THAT(text, Not(HasSubstr("scoring_func")));
  EXPECT_THAT(text, Not(HasSubstr("rope")));
}

TEST(CopyOtherFiles, TakesJsonAndPythonAsTheReferenceDoes) {
  TempDir from, to;
  for (const char* name : {"config.json", "tokenizer.json", "modeling.py", "chat_template.jinja",
                           "model.safetensors.index.json", "model.safetensors", "README.md"})
    from.write(name, name);
  copy_other_files(from.path(), to.path(), /*as_reference=*/true);
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(to.path())) names.insert(entry.path().filename().string());
  EXPECT_THAT(names, testing::ElementsAre("modeling.py", "tokenizer.json"));
  EXPECT_EQ(read_file(to / "tokenizer.json"), "tokenizer.json");
}

}  // namespace
}  // namespace latent8
