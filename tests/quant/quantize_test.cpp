#include "latent8/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "formats/checkpoint.h"
#include "model/weights.h"
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

}  // namespace
}  // namespace latent8
