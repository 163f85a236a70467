#include "quant/weights/weight_quantizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "quant/support.h"
#include "quant/weights/rounding.h"
#include "support/errors.h"

namespace latent8 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class WeightQuantizerTest : public SmallCheckpoint, public testing::Test {
 protected:
  QuantizedWeight quantized(const std::vector<float>& values, std::int64_t cols, DType type = DType::kF32) {
    add("w", values, cols);
    checkpoint_ = open();
    return quantize_weight(pool_, SourceTensor(*checkpoint_, "w"), type);
  }
  static std::vector<int> row(const QuantizedWeight& w, std::int64_t r) {
    return {w.codes.row(r), w.codes.row(r) + w.codes.cols()};
  }

  ThreadPool pool_{1};
  std::optional<Checkpoint> checkpoint_;
};

TEST_F(WeightQuantizerTest, ScalesEveryRowByItsLargestValue) {
  const QuantizedWeight w = quantized({1.27F, -0.634F, 0.01F, 0.0F, -254.0F, 127.0F, 2.0F, -3.0F}, 4);
  EXPECT_THAT(row(w, 0), ElementsAre(127, -63, 1, 0));
  EXPECT_THAT(row(w, 1), ElementsAre(-127, 64, 1, -2));  // ties go to even
  EXPECT_FLOAT_EQ(w.scale[0], 0.01F);
  EXPECT_FLOAT_EQ(w.scale[1], 2.0F);
  EXPECT_THAT(w.row_sum, ElementsAre(65, -64));
}

TEST_F(WeightQuantizerTest, DividesByTheScaleThatIsStored) {
  // 1.0 / 127 is 0.0078740...; bfloat16 has 0.00787353515625, a little less: 0.4961 is 63.008 codes of it.
  const QuantizedWeight w = quantized({1.0F, 0.4961F}, 2, DType::kBf16);
  EXPECT_EQ(w.scale[0], 0.00787353515625F);
  EXPECT_THAT(row(w, 0), ElementsAre(127, 63));
}

TEST_F(WeightQuantizerTest, ClampsWhereTheStoredScaleRoundsDown) {
  const float amax = 127.0F * 1.003F;  // bfloat16 rounds 1.003 to 1
  const QuantizedWeight w = quantized({amax, -amax}, 2, DType::kBf16);
  EXPECT_EQ(w.scale[0], 1.0F);
  EXPECT_THAT(row(w, 0), ElementsAre(127, -127));
}

TEST_F(WeightQuantizerTest, GivesARowOfZerosTheSmallestScale) {
  const QuantizedWeight w = quantized({0.0F, 0.0F}, 2, DType::kBf16);
  EXPECT_EQ(w.scale[0], kSmallestScale);
  EXPECT_THAT(row(w, 0), ElementsAre(0, 0));
}

TEST_F(WeightQuantizerTest, NamesATensorThatIsNotFinite) {
  const std::string message = error_of(ErrorCode::kCorrupt, [&] {
    quantized({1.0F, 2.0F, 3.0F, std::numeric_limits<float>::quiet_NaN()}, 2);
  });
  EXPECT_THAT(message, HasSubstr("'w'"));
  EXPECT_THAT(message, HasSubstr("row 1"));
}

TEST_F(WeightQuantizerTest, SumsTheSquaresOfEveryColumn) {
  add("w", {1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F}, 3);
  checkpoint_ = open();
  EXPECT_THAT(column_energy(pool_, SourceTensor(*checkpoint_, "w")), ElementsAre(17.0, 29.0, 45.0));
}

TEST(StaticInputTest, CoversTheRangeWithAllCodes) {
  const StaticInput input = static_input(DType::kF32, -1.0F, 1.55F);
  EXPECT_FLOAT_EQ(input.scale, 0.01F);
  EXPECT_EQ(input.offset, -28.0F);  // 100 - 128
  EXPECT_EQ(std::nearbyint(-1.0F / input.scale) + input.offset, -128.0F);
  EXPECT_EQ(std::nearbyint(1.55F / input.scale) + input.offset, 127.0F);
}

TEST(StaticInputTest, AlwaysHoldsZero) {
  EXPECT_EQ(static_input(DType::kF32, 1.0F, 2.55F).offset, -128.0F);
  EXPECT_EQ(static_input(DType::kF32, -2.55F, -1.0F).offset, 127.0F);
}

TEST(StaticInputTest, ComputesTheOffsetWithTheRoundedScale) {
  // (3 + 7) / 255 = 0.0392157 is 0.039306640625 in bfloat16; 3 / that = 76.32.
  const StaticInput input = static_input(DType::kBf16, -3.0F, 7.0F);
  EXPECT_EQ(input.scale, 0.039306640625F);
  EXPECT_EQ(input.offset, 76.0F - 128.0F);
}

TEST(StaticTensorsTest, FoldsTheOffsetAndTheBiasIntoIntegers) {
  QuantizedWeight weight;
  weight.scale = {0.5F, 0.25F};
  weight.row_sum = {10, -7};
  const StaticInput input{0.125F, -3.0F};
  const StaticTensors plain = static_tensors(DType::kBf16, weight, input, {});
  EXPECT_THAT(plain.deq_scale, ElementsAre(0.0625F, 0.03125F));
  EXPECT_THAT(plain.quant_bias, ElementsAre(30, -21));
  const StaticTensors biased = static_tensors(DType::kBf16, weight, input, {1.0F, -0.5F});
  EXPECT_THAT(biased.quant_bias, ElementsAre(46, -37));
}

TEST(StaticTensorsTest, RoundsTheProductOfScalesToTheStoredType) {
  QuantizedWeight weight;
  weight.scale = {round_to(DType::kBf16, 0.01F)};
  weight.row_sum = {0};
  const StaticInput input{round_to(DType::kBf16, 0.03F), 5.0F};
  const float product = input.scale * weight.scale[0];
  const StaticTensors tensors = static_tensors(DType::kBf16, weight, input, {});
  EXPECT_EQ(tensors.deq_scale[0], round_to(DType::kBf16, product));
  EXPECT_NE(tensors.deq_scale[0], product);
}

TEST(StaticTensorsTest, IsExactWhereFloat32IsNot) {
  QuantizedWeight weight;
  weight.scale = {1.0F};
  weight.row_sum = {(1 << 24) + 1};
  EXPECT_THAT(static_tensors(DType::kF32, weight, {1.0F, 1.0F}, {}).quant_bias, ElementsAre(-(1 << 24) - 1));
}

}  // namespace
}  // namespace latent8
