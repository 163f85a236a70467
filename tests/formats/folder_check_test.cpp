#include "formats/folder_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "support/temp_dir.h"

namespace latent8 {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

// A copy of models/tiny-r1, with its weights in files that an index names.
class FolderCheckOf : public testing::Test {
 protected:
  FolderCheckOf() { dir_.copy_from(std::filesystem::path(LATENT8_SOURCE_DIR) / "models/tiny-r1"); }

  FolderCheck check() const { return check_folder(dir_.path()); }
  void index(const nlohmann::json& weight_map) const {
    dir_.write("model.safetensors.index.json", nlohmann::json{{"weight_map", weight_map}}.dump());
  }

  TempDir dir_;
};

TEST_F(FolderCheckOf, AWholeCheckpointHasNoProblem) {
  EXPECT_THAT(check().problems, IsEmpty());
  EXPECT_TRUE(check().opens());
}

TEST_F(FolderCheckOf, EveryProblemIsToldAndNotOnlyTheFirst) {
  dir_.write("generation_config.json", "<html>");
  dir_.write("tokenizer_config.json", "version https://git-lfs.github.com/spec/v1\n");
  std::filesystem::resize_file(dir_ / "model.safetensors", 100000);
  ASSERT_EQ(mkfifo((dir_ / "extra.json").c_str(), 0600), 0);

  const std::vector<std::string> problems = check().problems;

  EXPECT_THAT(problems, Contains(HasSubstr("a web page")));
  EXPECT_THAT(problems, Contains(HasSubstr("Git LFS pointer")));
  EXPECT_THAT(problems, Contains(HasSubstr("truncated")));
  EXPECT_THAT(problems, Contains(HasSubstr("got a FIFO")));
  EXPECT_EQ(problems.size(), 4U);
}

TEST_F(FolderCheckOf, AllMissingShardsAreNamed) {
  index({{"model.norm.weight", "model.safetensors"},
         {"a", "model-2.safetensors"},
         {"b", "model-3.safetensors"}});

  EXPECT_THAT(check().problems, Contains(HasSubstr("the index names 2 files that are not there: "
                                                   "'model-2.safetensors', 'model-3.safetensors'")));
}

TEST_F(FolderCheckOf, TensorsThatTheIndexPromisesInVainAreCounted) {
  index({{"model.norm.weight", "model.safetensors"}, {"none.weight", "model.safetensors"}});

  EXPECT_THAT(check().problems,
              Contains(HasSubstr("1 tensors are not in the files that it names, 'none.weight'")));
}

TEST_F(FolderCheckOf, AppleDoubleFilesAreNotReadAndSaidToBeThere) {
  dir_.write("._model.safetensors", std::string("\0\5\x16\7", 4));

  EXPECT_THAT(check().problems, IsEmpty());
  EXPECT_THAT(check().notes, Contains(HasSubstr("'._model.safetensors' is an AppleDouble file")));
}

TEST_F(FolderCheckOf, AnotherQuantisationIsNamedWithItsTool) {
  auto config = nlohmann::json::parse(read_file(dir_ / "config.json"));
  config["quantization_config"] = {{"quant_method", "compressed-tensors"}};
  dir_.write("config.json", config.dump());

  EXPECT_THAT(check().problems, Contains(HasSubstr("'compressed-tensors' (of llm-compressor)")));
}

TEST_F(FolderCheckOf, WeightsInAnotherFormAreNamed) {
  std::filesystem::rename(dir_ / "model.safetensors", dir_ / "model.Q4_K_M.gguf");

  EXPECT_THAT(check().problems, Contains(HasSubstr("*.safetensors expected")));
}

}  // namespace
}  // namespace latent8
