// The msmodelslim mode end to end: tensors that weights alone decide are the reference's, and those that
// statistics decide differ by the noise between a calibration in float32 and one in bf16.

#include <gtest/gtest.h>

#include <cmath>

#include "compat_support.h"

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
