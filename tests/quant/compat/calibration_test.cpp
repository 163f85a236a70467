// The msmodelslim mode end to end: tensors that weights alone decide are the reference's, and those that
// statistics decide differ by the noise between a calibration in float32 and one in bf16.

#include <gtest/gtest.h>

#include <cmath>

#include "quant/calibrate/calibration.h"
#include "quant/compat/exponent_search.h"
#include "quant/compat/smoothing.h"
#include "quant/compat/support.h"
#include "quant/compat/token_batches.h"
#include "quant/weights/rounding.h"

namespace latent8::compat {
namespace {

bool statistics_decide(const std::string& name, const GoldenRun& run) {
  if (name.find(".fa_") != std::string::npos) return name.ends_with(".scale");
  if (run.anti == QuantizeOptions::Anti::kNone || name.find(".mlp.") != std::string::npos ||
      name.ends_with("_offset") || name.find("kv_a_layernorm") != std::string::npos)
    return name.ends_with(".input_offset");
  return name.find(".self_attn.") != std::string::npos || name.find(".input_layernorm.") != std::string::npos;
}

// Differences between tensors of one kind: of scales relative to the value, of offsets relative to the 255
// codes, of all others, which have both signs, relative to the kind's rms.
struct Distribution {
  std::vector<double> values;
  std::int64_t equal = 0;

  void add(const std::string& kind, const TensorView& ours, const TensorView& golden) {
    const std::vector<float> a = values_of(ours), b = values_of(golden);
    const bool positive = kind.ends_with("scale") || kind.ends_with("scales");
    for (std::size_t i = 0; i < a.size(); ++i) {
      equal += a[i] == b[i] ? 1 : 0;
      squares_ += double{b[i]} * b[i];
      values.push_back(std::fabs(double{a[i]} - b[i]) / (positive ? double{b[i]} : 1.0));
    }
    if (!positive) unit_ = std::sqrt(squares_ / static_cast<double>(values.size()));
    if (kind == "input_offset") unit_ = 255.0;
  }
  double quantile(double q) {
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))] / unit_;
  }

 private:
  double squares_ = 0.0, unit_ = 1.0;
};

std::string kind_of(const std::string& name) {
  const std::string last = name.substr(name.find_last_of('.') + 1);
  if (name.find(".fa_") != std::string::npos) return "latent scales";
  if (name.find("layernorm") != std::string::npos) return "norm " + last;
  return name.find("kv_b_proj") != std::string::npos ? "kv_b_proj" : last;
}

class CompatCalibration : public CompatTest {
 protected:
  // Runs with our calibration, and with the reference's statistics, which gives the reference's bytes
  // (compat_parity_test.cpp); compares what weights decide, and returns how the rest differs, by kind.
  std::map<std::string, Distribution> compare(const GoldenRun& run) {
    QuantizeOptions o = options(run);
    quantize_as_msmodelslim(o, all_layers());
    QuantizeOptions golden_options = o;
    golden_options.out = dir_ / "golden";
    quantize_as_msmodelslim(golden_options, given(run));
    const Checkpoint ours = Checkpoint::open(o.out), golden = Checkpoint::open(golden_options.out);
    EXPECT_EQ(ours.tensors().size(), golden.tensors().size());
    std::map<std::string, Distribution> kinds;
    std::int64_t by_weights = 0;
    for (const auto& [name, view] : ours.tensors()) {
      if (statistics_decide(name, run)) {
        kinds[kind_of(name)].add(kind_of(name), view, golden.get(name));
        continue;
      }
      ++by_weights;
      EXPECT_TRUE(std::ranges::equal(view.bytes, golden.get(name).bytes)) << name;
    }
    fmt::print("{}: {} of {} tensors depend on weights alone and are equal\n", run.folder, by_weights,
               ours.tensors().size());
    for (auto& [kind, d] : kinds)
      fmt::print(
          "  {:16} {:8} values, {:8} equal; relative difference median {:.5f}, 90 % {:.5f}, 99 % {:.5f}\n",
          kind, d.values.size(), d.equal, d.quantile(0.5), d.quantile(0.9), d.quantile(0.99));
    return kinds;
  }
  Given all_layers() const {
    Given given;
    given.float_layers.emplace();
    return given;
  }
};

double median_of_scales(std::map<std::string, Distribution>& kinds) {
  Distribution all;
  for (const char* kind : {"latent scales", "input_scale", "weight_scale", "deq_scale"})
    if (kinds.contains(kind))
      all.values.insert(all.values.end(), kinds[kind].values.begin(), kinds[kind].values.end());
  return all.quantile(0.5);
}

// Layer 0 as the reference computes it, in bf16: the inputs of q_a_proj and q_b_proj over the anti prompts.
class LayerZeroInBf16 {
 public:
  LayerZeroInBf16(const AttentionTensors& w, const Matrix<float>& table, float eps)
      : w_(w), table_(table), eps_(eps) {}

  std::array<Matrix<float>, 2> inputs(const std::vector<std::int32_t>& ids) const {
    const auto T = static_cast<std::int64_t>(ids.size());
    Matrix<float> h(T, table_.cols()), c_q(T, w_.q_a_proj.weight.rows());
    for (std::int64_t t = 0; t < T; ++t) {
      std::copy_n(table_.row(ids[static_cast<std::size_t>(t)]), h.cols(), h.row(t));
      norm(w_.input_layernorm.weight, h.view().row_span(t));
      for (std::int64_t j = 0; j < c_q.cols(); ++j) {
        double sum = 0.0;
        for (std::int64_t i = 0; i < h.cols(); ++i)
          sum += double{h.row(t)[i]} * double{w_.q_a_proj.weight.row(j)[i]};
        c_q.row(t)[j] = round_to(DType::kBf16, static_cast<float>(sum));
      }
      norm(w_.q_a_layernorm.weight, c_q.view().row_span(t));
    }
    return {std::move(h), std::move(c_q)};
  }

 private:
  void norm(const std::vector<float>& weight, std::span<float> x) const {
    double squares = 0.0;
    for (const float value : x) squares += double{value} * value;
    const float factor = 1.0F / std::sqrt(static_cast<float>(squares / static_cast<double>(x.size())) + eps_);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = round_to(DType::kBf16, weight[i] * round_to(DType::kBf16, x[i] * factor));
  }

  const AttentionTensors& w_;
  const Matrix<float>& table_;
  float eps_;
};

TEST_F(CompatCalibration, PromptsBecomeTheReferencesTokens) {
  const GoldenStatistics statistics("a");
  const Tokenizer tokenizer = Tokenizer::load(kTinyR1);
  const ModelConfig config = Checkpoint::open(kTinyR1).config();
  for (const std::string pass : {"anti", "calib"}) {
    const auto batches =
        make_batches(tokenizer, config, read_prompts(kGolden / "prompts" / (pass + ".json")), 1);
    ASSERT_EQ(batches.size(), 10U);
    for (std::size_t i = 0; i < batches.size(); ++i)
      EXPECT_EQ(std::vector<float>(batches[i].ids.begin(), batches[i].ids.end()),
                statistics.values(fmt::format("{}.{}.input_ids", pass, i)));
  }
}

TEST_F(CompatCalibration, TheSearchFindsTheReferencesExponentsInItsInputs) {
  const GoldenStatistics golden("e"), tokens("a");
  const Checkpoint source = Checkpoint::open(kTinyR1);
  const SourceReader files(source);
  const TensorReader reader(files, DType::kBf16);
  AttentionTensors w = reader.attention(0);
  const Matrix<float> table = reader.matrix("model.embed_tokens.weight");
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 10; ++i)
    for (const float id : tokens.values(fmt::format("anti.{}.input_ids", i)))
      ids.push_back(static_cast<std::int32_t>(id));
  const auto inputs = LayerZeroInBf16(w, table, static_cast<float>(source.config().rms_norm_eps)).inputs(ids);

  ThreadPool pool(1);
  OpContext ctx(pool);
  for (const Group group : {Group::kHidden, Group::kCQ}) {
    const Matrix<float>& input = inputs[static_cast<std::size_t>(group)];
    const GroupStatistics seen = golden.layer(0).groups[static_cast<std::size_t>(group)];
    for (std::int64_t c = 0; c < input.cols(); ++c) {
      float amax = 0.0F;
      for (std::int64_t t = 0; t < input.rows(); ++t) amax = std::max(amax, std::fabs(input.row(t)[c]));
      ASSERT_EQ(amax, seen.channels[static_cast<std::size_t>(c)].amax()) << c;
    }
    const Exponents found = search_exponents(ctx, DType::kBf16, input, seen, linears_of(group, w));
    EXPECT_FLOAT_EQ(found.alpha, seen.exponents.alpha);
    EXPECT_FLOAT_EQ(found.beta, seen.exponents.beta);
  }
}

TEST_F(CompatCalibration, StaticAttentionSmoothedByM4) {
  auto kinds = compare(kRunA);

  EXPECT_LT(median_of_scales(kinds), 0.01);
  // A step of the input's offset moves the whole of quant_bias.
  for (auto& [kind, distribution] : kinds)
    EXPECT_LT(distribution.quantile(0.5), kind == "quant_bias" ? 0.02 : 0.01) << kind;
}

TEST_F(CompatCalibration, DynamicWithoutSmoothing) {
  auto kinds = compare(kRunC);

  EXPECT_EQ(kinds.size(), 1U);  // the scales of the int8 cache
  EXPECT_LT(kinds["latent scales"].quantile(0.5), 0.01);
}

// m6 chooses on a plateau of equal errors, so that noise decides between exponents that are as good.
TEST_F(CompatCalibration, StaticAttentionSmoothedByM6) {
  auto kinds = compare(kRunE);

  EXPECT_LT(kinds["latent scales"].quantile(0.5), 0.01);
  EXPECT_LT(kinds["norm weight"].quantile(0.5), 0.01);
  EXPECT_LT(kinds["weight"].quantile(0.5), 0.01);
}

}  // namespace
}  // namespace latent8::compat
