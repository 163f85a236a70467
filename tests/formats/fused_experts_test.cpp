#include "formats/fused_experts.h"

#include <numeric>

#include "support/errors.h"

namespace latent8 {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kExperts = 3, kHidden = 2, kIntermediate = 4;

// One dense layer and one with experts in two tensors, whose bytes count up.
class FusedExperts : public testing::Test {
 protected:
  FusedExperts() {
    config_.num_hidden_layers = 2;
    config_.first_k_dense_replace = config_.moe_layer_freq = 1;
    config_.n_routed_experts = kExperts;
    config_.hidden_size = kHidden;
    config_.moe_intermediate_size = kIntermediate;
    config_.q_lora_rank = 2;
    std::iota(bytes_.begin(), bytes_.end(), std::uint8_t{0});
    add("gate_up_proj", {kExperts, 2 * kIntermediate, kHidden});
    add("down_proj", {kExperts, kHidden, kIntermediate});
  }

  static std::string name(const std::string& end) { return "model.layers.1.mlp.experts." + end; }
  void add(const std::string& end, std::vector<std::int64_t> shape) {
    TensorView view{DType::kI8, std::move(shape), {}};
    view.bytes = std::as_bytes(std::span(bytes_)).first(static_cast<std::size_t>(view.size_bytes()));
    tensors_.insert_or_assign(name(end), view);
  }
  std::string refusal() {
    return error_of(ErrorCode::kCorrupt, [&] { split_fused_experts(config_, tensors_); });
  }

  ModelConfig config_;
  std::array<std::uint8_t, 64> bytes_{};
  TensorMap tensors_;
};

TEST_F(FusedExperts, BecomeViewsOfTheirParts) {
  split_fused_experts(config_, tensors_);

  EXPECT_EQ(tensors_.size(), 3U * kExperts);
  const auto first = [&](const std::string& end) {
    return std::to_integer<int>(tensors_.find(name(end))->second.bytes[0]);
  };
  EXPECT_EQ(tensors_.find(name("2.up_proj.weight"))->second.shape, (std::vector<std::int64_t>{4, 2}));
  EXPECT_EQ(tensors_.find(name("2.down_proj.weight"))->second.shape, (std::vector<std::int64_t>{2, 4}));
  EXPECT_EQ(first("0.gate_proj.weight"), 0);
  EXPECT_EQ(first("0.up_proj.weight"), 8);
  EXPECT_EQ(first("2.gate_proj.weight"), 2 * 16);
  EXPECT_EQ(first("2.up_proj.weight"), 2 * 16 + 8);
  EXPECT_EQ(first("2.down_proj.weight"), 2 * 8);
}

TEST_F(FusedExperts, OfFp8HaveAScalePerExpertThatGateAndUpShare) {
  add("gate_up_proj_scale_inv", {kExperts, 1, 1});
  split_fused_experts(config_, tensors_);
  for (const char* part : {"1.gate_proj.weight_scale_inv", "1.up_proj.weight_scale_inv"}) {
    ASSERT_TRUE(tensors_.contains(name(part))) << part;
    EXPECT_EQ(tensors_.find(name(part))->second.elements(), 1);
    EXPECT_EQ(std::to_integer<int>(tensors_.find(name(part))->second.bytes[0]), 1);
  }
  add("down_proj_scale_inv", {kExperts, 2, 1});
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [&] { split_fused_experts(config_, tensors_); }),
              HasSubstr("one scale per expert"));
}

TEST_F(FusedExperts, OfAnotherShapeAreNamed) {
  add("gate_up_proj", {kExperts, kHidden, 2 * kIntermediate});  // as some models have them, transposed
  EXPECT_THAT(refusal(), HasSubstr("'model.layers.1.mlp.experts.gate_up_proj': shape [3, 8, 2] expected from "
                                   "config.json, got [3, 2, 8]"));
}

TEST_F(FusedExperts, BesideExpertsOneByOneAreNamed) {
  add("1.down_proj.weight", {kHidden, kIntermediate});
  EXPECT_THAT(refusal(), HasSubstr("1.down_proj.weight' too"));
}

}  // namespace
}  // namespace latent8
