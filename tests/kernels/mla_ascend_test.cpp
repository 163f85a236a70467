#include "kernels/mla_ascend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "formats/safetensors.h"

namespace latent8 {
namespace {

// One case of tests/data/golden/mla.safetensors (made by an independent implementation, see its README).
struct Golden {
  std::vector<float> q_pe, k_pe, qk_descale, pv_descale, scale, out, lse;
  std::vector<std::int8_t> q8, k8;
  std::int64_t tokens, heads, context;
};

std::vector<float> read(const SafetensorsFile& file, const std::string& name) {
  const TensorView& tensor = file.tensors().at(name);
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  widen(tensor.bytes.data(), tensor.dtype, tensor.elements(), values.data());
  return values;
}

std::vector<std::int8_t> read_codes(const SafetensorsFile& file, const std::string& name) {
  const auto* codes = reinterpret_cast<const std::int8_t*>(file.tensors().at(name).bytes.data());
  return {codes, codes + file.tensors().at(name).elements()};
}

Golden read_golden(const std::string& number) {
  const SafetensorsFile file(LATENT8_SOURCE_DIR "/tests/data/golden/mla.safetensors");
  const std::string n = number + ".";
  Golden g;
  g.q_pe = read(file, n + "q_rope");
  g.k_pe = read(file, n + "k_rope");
  g.qk_descale = read(file, n + "qk_descale");
  g.pv_descale = read(file, n + "pv_descale");
  g.scale = read(file, n + "scale");
  g.out = read(file, n + "out");
  g.lse = read(file, n + "lse");
  g.q8 = read_codes(file, n + "q8");
  g.k8 = read_codes(file, n + "k8");
  const std::vector<std::int64_t>& shape = file.tensors().at(n + "q8").shape;
  g.tokens = shape[0];
  g.heads = shape[1];
  g.context = file.tensors().at(n + "k8").shape[0];
  return g;
}

struct Result {
  std::vector<float> out, lse;
};

Result run(const Golden& g) {
  Result result{std::vector<float>(g.out.size()), std::vector<float>(g.lse.size())};
  mla_ascend_decode({.tokens = g.tokens,
                     .heads = g.heads,
                     .rank = 512,
                     .rope = 64,
                     .context = g.context,
                     .q = g.q8.data(),
                     .q_pe = g.q_pe.data(),
                     .k = g.k8.data(),
                     .k_pe = g.k_pe.data(),
                     .qk_descale = g.qk_descale.data(),
                     .pv_descale = g.pv_descale.data(),
                     .softmax_scale = g.scale[0],
                     .out = result.out.data(),
                     .lse = result.lse.data()});
  return result;
}

class MlaAscend : public testing::TestWithParam<const char*> {};

TEST_P(MlaAscend, StaysWithinTheReferencesOwnBoundOfTheGoldenOutput) {
  const Golden golden = read_golden(GetParam());
  const double epsilon = golden.context < 2048 ? 0x1p-8 : 0x1p-7;  // the reference's accuracy test

  const Result result = run(golden);

  for (std::size_t i = 0; i < golden.out.size(); ++i) {
    const double expected = golden.out[i];
    ASSERT_LE(std::fabs(result.out[i] - expected), epsilon * std::max(std::fabs(expected), 1.0)) << i;
  }
}

TEST_P(MlaAscend, ReturnsTheLogSumExpOfTheGoldenOutput) {
  const Golden golden = read_golden(GetParam());

  const Result result = run(golden);

  for (std::size_t i = 0; i < golden.lse.size(); ++i)
    ASSERT_NEAR(result.lse[i], golden.lse[i], 1e-5 * std::max(1.0F, std::fabs(golden.lse[i]))) << i;
}

INSTANTIATE_TEST_SUITE_P(Golden, MlaAscend, testing::Values("0", "1", "2", "3", "4", "5", "6"));

// A tile far below the running maximum divides 0 by 0 in the reference; here it counts for nothing.
TEST(MlaAscendDecode, IgnoresATileFarBelowTheMaximum) {
  constexpr std::int64_t kContext = 256;
  std::vector<std::int8_t> q(512, 127), k(kContext * 512, -128);
  std::fill(k.begin(), k.begin() + 128 * 512, std::int8_t{64});
  const std::vector<float> q_pe(64), k_pe(kContext * 64);
  const float qk_descale = 1e-3F, pv_descale = 0.5F;
  std::vector<float> out(512), lse(1);

  mla_ascend_decode({.tokens = 1,
                     .heads = 1,
                     .rank = 512,
                     .rope = 64,
                     .context = kContext,
                     .q = q.data(),
                     .q_pe = q_pe.data(),
                     .k = k.data(),
                     .k_pe = k_pe.data(),
                     .qk_descale = &qk_descale,
                     .pv_descale = &pv_descale,
                     .softmax_scale = 1.0F,
                     .out = out.data(),
                     .lse = lse.data()});

  EXPECT_EQ(out, std::vector<float>(512, 32.0F));
}

TEST(MlaAscendDecode, QuantisesLongerTilesWithManyHeadsOrSeveralTokens) {
  EXPECT_EQ(ascend_tile_keys(64, 1), 128);
  EXPECT_EQ(ascend_tile_keys(128, 1), 512);
  EXPECT_EQ(ascend_tile_keys(16, 2), 512);
}

}  // namespace
}  // namespace latent8
