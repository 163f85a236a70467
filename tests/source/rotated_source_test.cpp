#include "source/rotated_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/rng.h"
#include "model/weights.h"
#include "quant/quantize_fixture.h"
#include "quant/support.h"
#include "quant/weights/working_layer.h"
#include "source/source_reader.h"
#include "source/source_tensor.h"
#include "support/errors.h"
#include "support/model_runner.h"
#include "support/small_model.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// All tensors of a model as they read when it is rotated.
struct Rotated {
  explicit Rotated(const fs::path& model)
      : stored(Checkpoint::open(model)), reader(stored), source(reader), tensors(stored.config()) {
    std::vector<std::string> names;
    for (const auto& [name, view] : source.checkpoint().tensors()) names.push_back(name);
    tensors.read(source, names);
  }
  DeepseekModel load() const {
    return DeepseekModel(load_weights(std::make_shared<const Checkpoint>(tensors.checkpoint())));
  }
  const Checkpoint stored;
  const SourceReader reader;
  const RotatedSource source;
  WorkingLayer tensors;
};

// rms of the difference over rms of `a`.
double difference(const Matrix<float>& a, const Matrix<float>& b) {
  double left = 0.0, size = 0.0;
  for (std::int64_t r = 0; r < a.rows(); ++r)
    for (std::int64_t c = 0; c < a.cols(); ++c) {
      left += std::pow(double{a.row(r)[c]} - b.row(r)[c], 2);
      size += std::pow(double{a.row(r)[c]}, 2);
    }
  return std::sqrt(left / size);
}

class RotatedModel : public testing::TestWithParam<const char*> {
 protected:
  fs::path model() const { return std::string(GetParam()) == "tiny-r1" ? kTinyR1 : small_model(GetParam()); }
};

TEST_P(RotatedModel, IsTheSameFunction) {
  const Rotated rotated(model());
  const auto ids = random_ids(60, rotated.stored.config().vocab_size, 1);
  const std::vector<Matrix<float>> want = run_logits(*load_model(model()), {ids});
  const std::vector<Matrix<float>> got = run_logits(rotated.load(), {ids});
  EXPECT_LT(difference(want[0], got[0]), 2e-5);
}

TEST_P(RotatedModel, ReadsAnyPartOfATensor) {
  const Rotated rotated(model());
  Rng rng(2);
  for (const auto& [name, view] : rotated.source.checkpoint().tensors()) {
    const std::vector<float> whole = [&, key = name] {
      const Matrix<float> values = rotated.tensors.values(key);
      return std::vector<float>(values.row(0), values.row(0) + values.rows() * values.cols());
    }();
    if (view.dtype != DType::kF32) continue;
    const auto bytes = std::as_bytes(std::span(whole));
    const auto begin = static_cast<std::size_t>(rng.below(view.size_bytes()));
    const auto size =
        static_cast<std::size_t>(rng.below(view.size_bytes() - static_cast<std::int64_t>(begin))) + 1;
    std::vector<std::byte> part(size);
    rotated.source.read(name, static_cast<std::int64_t>(begin), part);
    EXPECT_EQ(std::memcmp(part.data(), bytes.data() + begin, size), 0) << name << " from byte " << begin;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, RotatedModel,
                         testing::Values("tiny-r1", "kimi-k2-small", "v2-lite-small", "v2-small",
                                         "v3-fp8-small", "v32-small"),
                         [](const auto& test) {
                           std::string name;
                           for (const char c : std::string(test.param))
                             if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
                           return name;
                         });

// Its hnorm reads what a norm gave whose weight has moved on: nearly the same function.
TEST(RotatedSource, KeepsTheMtpLayerNearlyTheSame) {
  const Rotated rotated(kTinyR1);
  const auto ids = random_ids(60, rotated.stored.config().vocab_size, 1);
  const Matrix<float> want = run_mtp_logits(*load_model(kTinyR1), ids);
  EXPECT_LT(difference(want, run_mtp_logits(rotated.load(), ids)), 0.01);
}

TEST(RotatedSource, HasNoBlockScalesAndLeavesTheStoredFilesAsTheyAre) {
  const Rotated rotated(small_model("v3-fp8-small"));
  for (const auto& [name, view] : rotated.source.checkpoint().tensors())
    EXPECT_FALSE(name.ends_with(kBlockScaleSuffix)) << name;
  EXPECT_EQ(rotated.source.checkpoint().get("model.layers.1.self_attn.q_a_proj.weight").dtype, DType::kF32);
  EXPECT_EQ(rotated.source.stored().get("model.layers.1.self_attn.q_a_proj.weight").dtype, DType::kF8E4M3);
  EXPECT_EQ(rotated.source.checkpoint().config().torch_dtype, DType::kBf16);
}

TEST(RotatedSource, NamesTheRowThatIsNotFinite) {
  TempDir dir;
  const Checkpoint model = Checkpoint::open(kTinyR1);
  const std::string name = "model.layers.2.mlp.experts.3.down_proj.weight";
  Matrix<float> values(model.get(name).shape[0], model.get(name).shape[1]);
  SourceTensor(model, name).read_rows(0, values.rows(), values.row(0));
  values.row(77)[5] = std::numeric_limits<float>::quiet_NaN();
  write_changed_model(dir, model, {{name, {values.row(0), values.row(0) + values.rows() * values.cols()}}});
  const Checkpoint changed = Checkpoint::open(dir.path());
  const SourceReader reader(changed);
  const RotatedSource source(reader);
  std::vector<float> row(static_cast<std::size_t>(values.cols()));
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { SourceTensor(source, name).read_row(70, row.data()); }),
              HasSubstr(name + "': finite values expected, row 77 has NaN or Inf"));
}

std::string refusal(const fs::path& model) {
  const Checkpoint stored = Checkpoint::open(model);
  const SourceReader reader(stored);
  return error_of(ErrorCode::kCorrupt, [&] { RotatedSource source(reader); });
}

TEST(RotatedSource, RefusesAShapeThatIsNotTheConfigs) {
  TempDir dir;
  dir.copy_from(kTinyR1);
  nlohmann::json config = nlohmann::json::parse(read_file(dir / "config.json"));
  config["v_head_dim"] = 48;
  dir.write("config.json", config.dump());
  EXPECT_THAT(refusal(dir.path()), HasSubstr("kv_b_proj.weight': shape [512, 512]: 448 rows expected"));
}

TEST(RotatedSource, RefusesANormOfAnotherSize) {
  TempDir dir;
  dir.copy_from(kTinyR1);
  const Checkpoint model = Checkpoint::open(kTinyR1);
  const std::string name = "model.layers.3.self_attn.q_a_layernorm.weight";
  std::vector<TensorToWrite> tensors;
  for (const auto& [key, view] : model.tensors())
    tensors.push_back({key, view.dtype, key == name ? std::vector<std::int64_t>{96} : view.shape});
  SafetensorsWriter writer(dir / "model.safetensors", tensors);
  for (const TensorToWrite& tensor : tensors)
    writer.append(tensor.name, model.get(tensor.name).bytes.first(static_cast<std::size_t>(tensor.bytes())));
  writer.finish();
  EXPECT_THAT(refusal(dir.path()),
              HasSubstr("q_b_proj.weight': shape [512, 128]: as many columns expected as the norm "
                        "before it has channels, 96"));
}

}  // namespace
}  // namespace latent8
