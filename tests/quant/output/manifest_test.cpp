#include "quant/output/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quant/output/state_file.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Manifest example() {
  Manifest manifest;
  manifest.inputs = {{"format", "mindie"}, {"source", "files 1"}};
  manifest.finished = 4;
  manifest.result.tokens = 123;
  manifest.result.seconds = 1.0 / 3.0;
  manifest.result.warnings = {"a warning"};
  LayerReport report;
  report.layer = 2;
  report.fa = true;
  report.fold = "both";
  report.candidates = {{"none", 0.25}, {"both", 0.1}};
  report.smoothed = {{"input_layernorm", 0.5, 0.25, 0.875}};
  report.latent_amax = 7.1;
  report.tensors = {{"FLOAT", 10}, {"W8A8", 20}};
  report.bytes_out = 30;
  manifest.result.per_layer = {report};
  return manifest;
}

TEST(Manifest, ComesBackAsItWasWritten) {
  TempDir dir;
  write_manifest(dir.path(), example());

  const Manifest manifest = read_manifest(dir.path()).value();

  EXPECT_EQ(manifest.inputs, example().inputs);
  EXPECT_EQ(manifest.finished, 4);
  EXPECT_EQ(manifest.result.tokens, 123);
  EXPECT_EQ(manifest.result.seconds, 1.0 / 3.0);
  EXPECT_THAT(manifest.result.warnings, ElementsAre("a warning"));
  ASSERT_EQ(manifest.result.per_layer.size(), 1U);
  const LayerReport& report = manifest.result.per_layer[0];
  EXPECT_EQ(report.layer, 2);
  EXPECT_TRUE(report.fa);
  EXPECT_EQ(report.fold, "both");
  ASSERT_EQ(report.candidates.size(), 2U);
  EXPECT_EQ(report.candidates[1].name, "both");
  EXPECT_EQ(report.candidates[1].error, 0.1);
  ASSERT_EQ(report.smoothed.size(), 1U);
  EXPECT_EQ(report.smoothed[0].source, "input_layernorm");
  EXPECT_EQ(report.smoothed[0].alpha, 0.5);
  EXPECT_EQ(report.smoothed[0].beta, 0.25);
  EXPECT_EQ(report.smoothed[0].error, 0.875);
  EXPECT_EQ(report.latent_amax, 7.1);
  EXPECT_EQ(report.tensors, example().result.per_layer[0].tensors);
  EXPECT_EQ(report.bytes_out, 30);
}

TEST(Manifest, IsAbsentBeforeTheFirstUnit) {
  TempDir dir;
  EXPECT_FALSE(read_manifest(dir.path()).has_value());
}

TEST(Manifest, SaysWhatToDoWithAFileThatItCannotRead) {
  TempDir dir;
  for (const char* text : {R"({"version": 1})", R"({"version": 99})", R"({"version": "x"})"}) {
    write_state_text(dir / "manifest.json", text);
    EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { read_manifest(dir.path()); }), HasSubstr("--no-resume"));
  }
}

TEST(Manifest, IsRefusedWithABitThatFlipped) {
  TempDir dir;
  write_manifest(dir.path(), example());
  const auto size = std::filesystem::file_size(dir / "manifest.json");
  for (std::uintmax_t byte = 0; byte < size; byte += 7) {
    flip_bit(dir / "manifest.json", byte, static_cast<int>(byte % 8));
    EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { read_manifest(dir.path()); }), HasSubstr("--no-resume"));
    flip_bit(dir / "manifest.json", byte, static_cast<int>(byte % 8));
  }
  EXPECT_EQ(read_manifest(dir.path())->finished, 4);
}

TEST(Manifest, NamesInputsThatDiffer) {
  Manifest now = example();
  now.inputs = {{"format", "ascendv1"}, {"source", "files 1"}, {"rotate", "yes"}};
  EXPECT_THAT(differences(example(), now),
              ElementsAre("format: mindie, now ascendv1", "rotate: absent, now yes"));
  EXPECT_THAT(differences(now, example()),
              ElementsAre("format: ascendv1, now mindie", "rotate: yes, now absent"));
  EXPECT_TRUE(differences(now, now).empty());
}

}  // namespace
}  // namespace latent8
