#include "server/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace latent8 {
namespace {

using testing::HasSubstr;

Checkpoint tiny() {
  return Checkpoint::open(std::filesystem::path(LATENT8_SOURCE_DIR) / "models" / "tiny-r1");
}

TEST(MemoryPlan, CountsOfExpertsThoseThatATokenChooses) {
  const Checkpoint checkpoint = tiny();
  const ModelConfig& config = checkpoint.config();
  double expected = 0.0;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const bool routed = name.find(".mlp.experts.") != std::string::npos;
    const bool embedding = name == "model.embed_tokens.weight";
    const bool mtp = name.starts_with("model.layers." + std::to_string(config.num_hidden_layers) + ".");
    if (mtp) continue;
    const auto bytes = static_cast<double>(tensor.bytes.size());
    if (embedding)
      expected += bytes / static_cast<double>(config.vocab_size);
    else
      expected += routed ? bytes * static_cast<double>(config.num_experts_per_tok) /
                               static_cast<double>(config.n_routed_experts)
                         : bytes;
  }

  EXPECT_NEAR(weight_bytes_per_token(checkpoint), expected, 1.0);
  EXPECT_LT(weight_bytes_per_token(checkpoint), static_cast<double>(checkpoint.tensor_bytes()));
}

TEST(MemoryPlan, WarnsOfWeightsThatDoNotFit) {
  const Checkpoint checkpoint = tiny();
  const std::int64_t stored = checkpoint.tensor_bytes();

  EXPECT_EQ(disk_warning(checkpoint, stored, 1e9), "");
  const std::string warning =
      disk_warning(checkpoint, 0, 10.0 * weight_bytes_per_token(checkpoint));  // ten tokens per second
  EXPECT_THAT(warning, HasSubstr("about 10 tokens per second"));
}

TEST(MemoryPlan, MeasuresHowFastTheFileIsRead) { EXPECT_GT(measured_read_rate(tiny()), 0.0); }

TEST(MemoryPlan, NamesTheContextsThatTheCacheHolds) {
  const EngineInfo info{.block_size = 128,
                        .num_blocks = 96,
                        .max_model_len = 4096,
                        .cache_bytes_per_token = 640,
                        .step_buffer_bytes = std::int64_t{1} << 30,
                        .eos_token_ids = {}};

  EXPECT_THAT(memory_plan(tiny(), info, /*copied=*/false, std::int64_t{8} << 30),
              HasSubstr("12288 tokens of 640 bytes in blocks of 128: 3.0 contexts of 4096 tokens"));
}

}  // namespace
}  // namespace latent8
