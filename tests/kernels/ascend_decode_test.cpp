#include "kernels/ascend_decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "formats/safetensors.h"
#include "support/recipe.h"

namespace latent8 {
namespace {

constexpr std::int64_t kRank = 512, kRope = 64;

// One case of tests/data/golden/mla.safetensors: the outputs of an independent implementation, and the inputs
// that tools/reference/make_mla_golden.py gave it.
struct Golden {
  std::vector<float> q_pe, k_pe, qk_descale, pv_descale, out, lse;
  std::vector<std::int8_t> q8, k8;
  std::int64_t tokens, heads, context, tile;
};

std::vector<float> read(const SafetensorsFile& file, const std::string& name) {
  const TensorView& tensor = file.tensors().at(name);
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  widen(tensor.bytes.data(), tensor.dtype, tensor.elements(), values.data());
  return values;
}

// Every 64th column from 5 is `loud` times as large as the others.
std::vector<std::int8_t> codes(std::uint64_t stream, std::int64_t rows, int divisor, int loud) {
  std::vector<std::int8_t> values(static_cast<std::size_t>(rows * kRank));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const int x = recipe_bell(stream, i) * (i % 64 == 5 ? loud : 1);
    values[i] = static_cast<std::int8_t>(std::clamp(x / divisor, -127, 127));
  }
  return values;
}

std::vector<float> bell(std::uint64_t stream, std::int64_t count, float scale) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(recipe_bell(stream, i)) * scale;
  return values;
}

Golden read_golden(int number) {
  const SafetensorsFile file(LATENT8_SOURCE_DIR "/tests/data/golden/mla.safetensors");
  const std::string n = std::to_string(number) + ".";
  std::array<std::int64_t, 4> meta{};
  std::memcpy(meta.data(), file.tensors().at(n + "meta").bytes.data(), sizeof(meta));
  Golden g;
  g.context = meta[0];
  g.tile = meta[1];
  g.tokens = meta[2];
  g.heads = meta[3];
  const auto stream = static_cast<std::uint64_t>(10 * (number + 1));
  g.q8 = codes(stream, g.tokens * g.heads, 4, 1);
  g.k8 = codes(stream + 1, g.context, 13, 4);
  g.q_pe = bell(stream + 2, g.tokens * g.heads * kRope, 1.0F / 64);
  g.k_pe = bell(stream + 3, g.context * kRope, 1.0F / 128);
  for (std::int64_t h = 0; h < g.heads; ++h)
    g.qk_descale.push_back(
        static_cast<float>(1 + recipe_bits(stream + 4, static_cast<std::uint64_t>(h)) % 32) / 16384);
  g.pv_descale.assign(static_cast<std::size_t>(g.heads), 15.0F / 128);
  g.out = read(file, n + "out");
  g.lse = read(file, n + "lse");
  return g;
}

struct Result {
  std::vector<float> out, lse;
};

Result run(const Golden& g) {
  Result result{std::vector<float>(g.out.size()), std::vector<float>(g.lse.size())};
  ascend_decode({.tokens = g.tokens,
                 .heads = g.heads,
                 .rank = kRank,
                 .rope = kRope,
                 .context = g.context,
                 .q = g.q8.data(),
                 .q_pe = g.q_pe.data(),
                 .k = g.k8.data(),
                 .k_pe = g.k_pe.data(),
                 .qk_descale = g.qk_descale.data(),
                 .pv_descale = g.pv_descale.data(),
                 .softmax_scale = 0.1352F,
                 .out = result.out.data(),
                 .lse = result.lse.data()});
  return result;
}

class MlaAscend : public testing::TestWithParam<int> {};

TEST_P(MlaAscend, StaysWithinTheReferencesOwnBoundOfTheGoldenOutput) {
  const Golden golden = read_golden(GetParam());
  ASSERT_EQ(ascend_tile_keys(golden.heads, golden.tokens), golden.tile);
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

INSTANTIATE_TEST_SUITE_P(Golden, MlaAscend, testing::Range(0, 7));

// A tile far below the running maximum divides 0 by 0 in the reference; here it counts for nothing.
TEST(MlaAscendDecode, IgnoresATileFarBelowTheMaximum) {
  constexpr std::int64_t kContext = 256;
  std::vector<std::int8_t> q(512, 127), k(kContext * 512, -128);
  std::fill(k.begin(), k.begin() + 128 * 512, std::int8_t{64});
  const std::vector<float> q_pe(64), k_pe(kContext * 64);
  const float qk_descale = 1e-3F, pv_descale = 0.5F;
  std::vector<float> out(512), lse(1);

  ascend_decode({.tokens = 1,
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
