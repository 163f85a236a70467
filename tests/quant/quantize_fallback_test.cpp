#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

#include "base/rng.h"
#include "latent8/verify.h"
#include "model/weights.h"
#include "quant/output/checkpoint_layout.h"
#include "quant/output/checkpoint_writer.h"
#include "quant/quantize_fixture.h"
#include "quant/support.h"
#include "source/source_tensor.h"
#include "support/errors.h"

namespace latent8 {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr std::int64_t kLayer = 1;  // whose cache stays float
constexpr float kBias = 64.0F;
constexpr const char* kScale = "model.layers.1.self_attn.fa_k.scale";

Matrix<float> values_of(const Checkpoint& model, const std::string& name) {
  const SourceTensor tensor(model, name);
  Matrix<float> out(tensor.rows(), tensor.cols());
  tensor.read_rows(0, tensor.rows(), out.row(0));
  return out;
}

std::vector<float> elements(const Matrix<float>& m) { return {m.row(0), m.row(0) + m.rows() * m.cols()}; }

// The sample with a layer whose latent is one large vector, to which all that reads it is blind, and small
// differences: int8 codes waste their range, and no basis helps. Its output outweighs the residual stream.
void write_model_with_a_delicate_layer(const TempDir& dir) {
  const Checkpoint sample = Checkpoint::open(kTinyR1);
  const std::string attention = fmt::format("model.layers.{}.self_attn.", kLayer);
  Matrix<float> kv_b = values_of(sample, attention + "kv_b_proj.weight"),
                o = values_of(sample, attention + "o_proj.weight");
  const Matrix<float> gamma = values_of(sample, attention + "kv_a_layernorm.weight");
  const std::int64_t rank = gamma.cols();
  std::vector<float> bias(
      static_cast<std::size_t>(sample.get(attention + "kv_a_proj_with_mqa.weight").shape[0]));
  std::vector<float> large;
  Rng rng(1);
  float squares = 0.0F;
  for (std::int64_t c = 0; c < rank; ++c) {
    bias[static_cast<std::size_t>(c)] = rng.uniform() < 0.5F ? -kBias : kBias;
    large.push_back(bias[static_cast<std::size_t>(c)] * gamma.row(0)[c]);
    squares += large.back() * large.back();
  }
  for (std::int64_t r = 0; r < kv_b.rows(); ++r) {
    const float share = std::inner_product(large.begin(), large.end(), kv_b.row(r), 0.0F) / squares;
    for (std::int64_t c = 0; c < rank; ++c) kv_b.row(r)[c] -= share * large[static_cast<std::size_t>(c)];
  }
  for (std::int64_t r = 0; r < o.rows(); ++r)
    for (float& value : o.view().row_span(r)) value *= 256.0F;
  write_changed_model(dir, sample,
                      {{attention + "kv_a_proj_with_mqa.bias", bias},
                       {attention + "kv_b_proj.weight", elements(kv_b)},
                       {attention + "o_proj.weight", elements(o)}});
}

class QuantizeFallback : public QuantizeTest {
 protected:
  QuantizeFallback() { write_model_with_a_delicate_layer(source_); }
  QuantizeOptions automatic() {
    QuantizeOptions o = options(source_.path());
    o.fallback = QuantizeOptions::Fallback::kAuto;
    return o;
  }
  TempDir source_;
};

TEST(Fallback, LeavesTheScalesOfALayerOutOfShardIndexAndDescription) {
  QuantizeOptions options;
  options.fa_quant = true;
  CheckpointPlan plan = plan_checkpoint(Checkpoint::open(kTinyR1), options);
  TempDir dir;
  ShardWriter writer(dir.path(), dir.path(), shard_layout(plan, options));

  for (PlannedUnit& unit : plan.units)
    for (PlannedModule& module : unit.modules) {
      if (module.kind == PlannedModule::Kind::kFaScales && unit.layer == kLayer) module.fall_back();
      for (const PlannedTensor& planned : module.tensors)
        writer.append(planned.tensor.name,
                      std::vector<std::byte>(static_cast<std::size_t>(planned.tensor.bytes())));
    }
  writer.finish_unit(0);
  writer.finish(tensors_of(plan));
  write_description(dir.path(), described_tensors(plan), options);
  dir.write("config.json", quantized_config(read_file(kTinyR1 / "config.json"), {}, {}, options));

  const Checkpoint checkpoint = Checkpoint::open(dir.path());
  std::int64_t scales = 0;
  for (const auto& [name, view] : checkpoint.tensors()) {
    EXPECT_FALSE(name.starts_with("model.layers.1.self_attn.fa_")) << name;
    scales += name.ends_with(".fa_k.scale") ? 1 : 0;
  }
  EXPECT_EQ(scales, 5);  // of four decoder layers and the MTP layer
  EXPECT_EQ(writer.tensors(), static_cast<std::int64_t>(checkpoint.tensors().size()));
  EXPECT_EQ(checkpoint.quant()->type_of(kScale), std::nullopt);
  EXPECT_FALSE(checkpoint.quant()->lists_fa_tensors(kLayer));
  EXPECT_TRUE(checkpoint.quant()->lists_fa_tensors(kLayer + 1));
}

TEST_F(QuantizeFallback, KeepsAFloatCacheWhereInt8CostsTooMuch) {
  const QuantizeOptions o = automatic();
  const auto checkpoint = std::make_shared<const Checkpoint>(quantized(o));

  const ModelWeights model = load_weights(checkpoint);
  for (std::size_t l = 0; l < model.layers.size(); ++l)
    EXPECT_EQ(model.layers[l].attention.fa.has_value(), l != kLayer) << l;
  EXPECT_EQ(checkpoint->find(kScale), nullptr);
  EXPECT_EQ(result_.fa_layers, 4);
  EXPECT_THAT(result_.warnings, Contains(HasSubstr("layer 1: the latent cache stays float")));
  const LayerReport& report = result_.per_layer[kLayer];
  EXPECT_FALSE(report.fa);
  EXPECT_EQ(report.k_scale, 0.0);
  EXPECT_TRUE(std::all_of(report.candidates.begin(), report.candidates.end(),
                          [](const LayerReport::Candidate& c) { return c.error > 0.01; }));
  EXPECT_GT(report.error_before, 0.01);
}

TEST_F(QuantizeFallback, PassesVerification) {
  quantize(automatic());
  VerifyOptions verification;
  verification.checkpoint = dir_ / "out";
  verification.source = source_.path();
  EXPECT_THAT(verify(verification).problems, testing::IsEmpty());
}

TEST_F(QuantizeFallback, IsTakenOverFromAnInterruptedRun) {
  QuantizeOptions whole = automatic();
  quantize(whole);
  QuantizeOptions o = whole;
  o.out = dir_ / "resumed";
  o.progress = [](const QuantizeProgress& p) {
    if (p.layer > kLayer) throw Error(ErrorCode::kInternal, "stopped");
  };
  error_of(ErrorCode::kInternal, [&] { quantize(o); });
  o.progress = nullptr;

  const QuantizeResult result = quantize(o);

  EXPECT_EQ(result.resumed_layers, kLayer + 1);
  EXPECT_EQ(result.fa_layers, 4);
  for (const auto& entry : std::filesystem::directory_iterator(whole.out))
    EXPECT_TRUE(read_file(entry.path()) == read_file(o.out / entry.path().filename().string()))
        << entry.path();
}

}  // namespace
}  // namespace latent8
