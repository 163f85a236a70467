#include "quant/weights/working_layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "source/source_reader.h"
#include "source/source_tensor.h"
#include "support/small_model.h"

namespace latent8 {
namespace {

const std::vector<std::string> kNames{"model.layers.1.self_attn.q_b_proj.weight",
                                      "model.layers.1.self_attn.q_b_proj.weight_scale_inv",
                                      "model.layers.1.input_layernorm.weight"};

class WorkingLayerTest : public testing::Test {
 protected:
  WorkingLayerTest() { layer_.read(reader_, kNames); }

  Checkpoint source_ = Checkpoint::open(small_model("v3-fp8-small"));
  SourceReader reader_{source_};
  WorkingLayer layer_{source_.config()};
};

TEST_F(WorkingLayerTest, ShowsTheStoredBytesAsACheckpoint) {
  const Checkpoint tensors = layer_.checkpoint();
  EXPECT_EQ(tensors.tensors().size(), kNames.size());
  for (const std::string& name : kNames) {
    EXPECT_TRUE(std::ranges::equal(tensors.get(name).bytes, source_.get(name).bytes)) << name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensors.get(name).bytes.data()) % 64, 0U) << name;
  }
}

TEST_F(WorkingLayerTest, WidensBlockScaledValues) {
  const SourceTensor exact(source_, kNames[0]);
  std::vector<float> row(static_cast<std::size_t>(exact.cols()));
  exact.read_row(5, row.data());
  EXPECT_TRUE(std::ranges::equal(row, layer_.values(kNames[0]).view().row_span(5)));
}

TEST_F(WorkingLayerTest, ReplacesValuesByFloat32WithoutBlockScales) {
  Matrix<float> values = layer_.values(kNames[0]);
  values.row(5)[3] = 0.123456789F;

  layer_.replace(kNames[0], {values.row(0), static_cast<std::size_t>(values.rows() * values.cols())});

  EXPECT_EQ(layer_.checkpoint().get(kNames[0]).dtype, DType::kF32);
  EXPECT_FALSE(layer_.has(kNames[1]));
  EXPECT_EQ(layer_.values(kNames[0]).row(5)[3], 0.123456789F);
}

TEST_F(WorkingLayerTest, KeepsAReplacedTensorWhenTheLayerIsReadAgain) {
  const std::vector<float> ones(static_cast<std::size_t>(source_.config().hidden_size), 1.0F);
  layer_.replace(kNames[2], ones);
  layer_.read(reader_, kNames);
  EXPECT_EQ(layer_.values(kNames[2]).row(0)[7], 1.0F);
}

TEST_F(WorkingLayerTest, ForgetsWhatIsDropped) {
  const std::int64_t before = layer_.bytes();
  layer_.drop(std::span(kNames).first(2));
  EXPECT_FALSE(layer_.has(kNames[0]));
  EXPECT_TRUE(layer_.has(kNames[2]));
  EXPECT_LT(layer_.bytes(), before);
}

}  // namespace
}  // namespace latent8
