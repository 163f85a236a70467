#include "benchmark/quantize_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "benchmark/random_source.h"
#include "formats/checkpoint.h"
#include "formats/files.h"
#include "quant/calibrate/calibration.h"
#include "source/source_tensor.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

using testing::HasSubstr;

// The shape of R1's layer with sizes that a test can afford.
ModelConfig small_config() {
  ModelConfig c = random_source_config(16);
  c.hidden_size = 256;
  c.intermediate_size = 256;
  c.moe_intermediate_size = 128;
  c.num_attention_heads = 2;
  c.q_lora_rank = 128;
  return c;
}

double deviation(const Checkpoint& checkpoint, const std::string& name) {
  const SourceTensor tensor(checkpoint, name);
  std::vector<float> values(static_cast<std::size_t>(tensor.rows() * tensor.cols()));
  tensor.read_rows(0, tensor.rows(), values.data());
  double sum = 0;
  for (const float x : values) sum += double{x} * x;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

TEST(RandomSource, IsACheckpointOfTheStatedSize) {
  for (const bool fp8 : {true, false}) {
    const TempDir dir;
    RandomSourceOptions options;
    options.fp8 = fp8;
    write_random_source(dir.path(), small_config(), options);

    const Checkpoint checkpoint = Checkpoint::open(dir.path());

    std::int64_t bytes = 0;
    for (const auto& [name, view] : checkpoint.tensors())
      bytes += static_cast<std::int64_t>(view.bytes.size());
    EXPECT_EQ(bytes, random_source_bytes(small_config(), fp8));
    EXPECT_EQ(checkpoint.config().n_routed_experts, 16);
    EXPECT_EQ(checkpoint.get("model.layers.0.mlp.experts.15.down_proj.weight").dtype,
              fp8 ? DType::kF8E4M3 : DType::kBf16);
  }
}

TEST(RandomSource, HasFp8WeightsThatKeepActivationsOfUnitSize) {
  const TempDir dir;
  write_random_source(dir.path(), small_config(), {});
  const Checkpoint checkpoint = Checkpoint::open(dir.path());

  EXPECT_NEAR(deviation(checkpoint, "model.layers.0.mlp.experts.3.up_proj.weight"), 1.0 / 16.0, 0.015);
}

TEST(RandomSource, HasPromptsOfTheStatedLength) {
  const TempDir dir;
  RandomSourceOptions options;
  options.prompts = 3;
  options.prompt_tokens = 17;
  write_random_source(dir.path(), small_config(), options);

  const Tokenizer tokenizer = Tokenizer::load(dir.path());
  const auto prompts = tokenize_prompts(tokenizer, small_config(), read_prompts(dir / "calib.json"));

  ASSERT_EQ(prompts.size(), 3U);
  for (const CalibrationPrompt& prompt : prompts) EXPECT_EQ(prompt.ids.size(), 17U);
}

TEST(QuantizeBench, MeasuresEveryRateAndLeavesNothingBehind) {
  const TempDir dir;
  QuantizeBenchOptions options;
  options.dir = dir.path();
  options.config = small_config();
  options.threads = 2;
  options.prompts = 2;
  options.prompt_tokens = 16;

  const QuantizeBench bench = run_quantize_bench(options);

  for (const double rate :
       {bench.disk_gbs, bench.disk_write_gbs, bench.memory_gbs, bench.page_cache.all_threads,
        bench.page_cache.per_core, bench.codes.all_threads, bench.codes.per_core, bench.written.all_threads,
        bench.written.per_core, bench.streamed.gbs, bench.calibrated.gbs})
    EXPECT_GT(rate, 0.0);
  EXPECT_EQ(bench.tokens, 32);
  EXPECT_EQ(bench.hot_bytes, 16 * 3 * 256 * 128);
  EXPECT_THAT(list_folder(dir.path()), testing::IsEmpty());
}

TEST(QuantizeBench, SaysHowMuchDiskItNeeds) {
  const TempDir dir;
  QuantizeBenchOptions options;
  options.dir = dir.path();
  options.config = random_source_config(std::int64_t{1} << 18);

  EXPECT_THAT(error_of(ErrorCode::kUnavailable, [&] { run_quantize_bench(options); }),
              HasSubstr("GB of free disk"));
}

}  // namespace
}  // namespace latent8
