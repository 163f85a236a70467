#include "source/source_tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "quant/support.h"
#include "source/source_reader.h"
#include "support/errors.h"

namespace latent8 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SourceTensorTest : public SmallCheckpoint, public testing::Test {
 protected:
  // Random fp8 numbers [rows, cols] and their block scales.
  void add_fp8(std::int64_t rows, std::int64_t cols, DType scale_type) {
    Rng rng(3);
    codes_.resize(static_cast<std::size_t>(rows * cols));
    for (std::byte& code : codes_) code = static_cast<std::byte>(rng.below(0x7f) + 0x80 * rng.below(2));
    add_stored("w", DType::kF8E4M3, {rows, cols}, codes_);
    const std::int64_t blocks = (rows + 127) / 128 * ((cols + 127) / 128);
    std::vector<std::byte> stored(static_cast<std::size_t>(blocks * size_of(scale_type)));
    for (std::int64_t i = 0; i < blocks; ++i) scales_.push_back(std::ldexp(1.0F, static_cast<int>(i) - 3));
    if (scale_type == DType::kF8E8M0)
      for (std::int64_t i = 0; i < blocks; ++i)
        stored[static_cast<std::size_t>(i)] = static_cast<std::byte>(124 + i);
    else
      narrow(scales_.data(), scale_type, blocks, stored.data());
    add_stored("w_scale_inv", scale_type, {(rows + 127) / 128, (cols + 127) / 128}, stored);
  }
  float expected(std::int64_t cols, std::int64_t r, std::int64_t c) const {
    const auto code = std::to_integer<std::uint8_t>(codes_[static_cast<std::size_t>(r * cols + c)]);
    return to_float(Fp8E4M3{code}) *
           scales_[static_cast<std::size_t>(r / 128 * ((cols + 127) / 128) + c / 128)];
  }
  void expect_blocks_applied(std::int64_t rows, std::int64_t cols, DType scale_type) {
    add_fp8(rows, cols, scale_type);
    const Checkpoint checkpoint = open();
    const SourceReader reader(checkpoint);
    for (const SourceTensor& tensor : {SourceTensor(checkpoint, "w"), SourceTensor(reader, "w")}) {
      ASSERT_EQ(tensor.rows(), rows);
      std::vector<float> out(static_cast<std::size_t>(rows * cols));
      tensor.read_rows(0, rows, out.data());
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < cols; ++c)
          ASSERT_EQ(out[static_cast<std::size_t>(r * cols + c)], expected(cols, r, c)) << r << " " << c;
    }
  }
  std::string refusal(ErrorCode code) {
    const Checkpoint checkpoint = open();
    return error_of(code, [&] { SourceTensor(checkpoint, "w"); });
  }

  std::vector<std::byte> codes_;
  std::vector<float> scales_;
};

std::vector<float> row(const SourceTensor& tensor, std::int64_t r) {
  std::vector<float> out(static_cast<std::size_t>(tensor.cols()));
  tensor.read_row(r, out.data());
  return out;
}

TEST_F(SourceTensorTest, WidensEveryFloatType) {
  add("a", {1.5F, -2.0F, 3.0F, 0.25F}, 2, DType::kF32);
  add("b", {1.5F, -2.0F, 3.0F, 0.25F}, 2, DType::kBf16);
  add("c", {1.5F, -2.0F, 3.0F, 0.25F}, 2, DType::kF16);
  const Checkpoint checkpoint = open();
  const SourceReader reader(checkpoint);
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_THAT(row(SourceTensor(checkpoint, name), 1), ElementsAre(3.0F, 0.25F)) << name;
    EXPECT_THAT(row(SourceTensor(reader, name), 1), ElementsAre(3.0F, 0.25F)) << name;
  }
}

TEST_F(SourceTensorTest, AppliesBlockScalesOfFloat32) { expect_blocks_applied(256, 256, DType::kF32); }
TEST_F(SourceTensorTest, AppliesBlockScalesOfBfloat16) { expect_blocks_applied(130, 257, DType::kBf16); }
TEST_F(SourceTensorTest, AppliesBlockScalesThatArePowersOfTwo) {
  expect_blocks_applied(200, 100, DType::kF8E8M0);
}

TEST_F(SourceTensorTest, StartsInTheMiddleOfABlock) {
  add_fp8(300, 140, DType::kF32);
  const Checkpoint checkpoint = open();
  const SourceReader reader(checkpoint);
  std::vector<float> out(2 * 140);

  SourceTensor(reader, "w").read_rows(127, 129, out.data());

  EXPECT_EQ(out[139], expected(140, 127, 139));
  EXPECT_EQ(out[140], expected(140, 128, 0));
}

TEST_F(SourceTensorTest, MultipliesRowsAndColumnsOfAFold) {
  add("w", {1.0F, 2.0F, 3.0F, 4.0F}, 2, DType::kBf16);
  const Checkpoint checkpoint = open();
  const std::vector<float> rows{10.0F, 100.0F}, cols{1.0F, 0.5F};

  EXPECT_THAT(row(SourceTensor(checkpoint, "w", {rows, cols}), 1), ElementsAre(300.0F, 200.0F));
  EXPECT_THAT(row(SourceTensor(checkpoint, "w", {rows, {}}), 1), ElementsAre(300.0F, 400.0F));
  EXPECT_THAT(row(SourceTensor(checkpoint, "w", {{}, cols}), 0), ElementsAre(1.0F, 1.0F));
}

TEST_F(SourceTensorTest, ReadsTensorsInMemory) {
  const std::vector<float> values{1.0F, 2.0F};
  const Checkpoint checkpoint =
      Checkpoint::of_tensors({}, {{"w", {DType::kF32, {2, 1}, std::as_bytes(std::span(values))}}});

  EXPECT_THAT(row(SourceTensor(checkpoint, "w"), 1), ElementsAre(2.0F));
}

TEST_F(SourceTensorTest, TakesAVectorAsOneRow) {
  add_stored("w", DType::kBf16, {3}, std::vector<std::byte>(6));
  const Checkpoint checkpoint = open();

  EXPECT_EQ(SourceTensor(checkpoint, "w").rows(), 1);
  EXPECT_EQ(SourceTensor(checkpoint, "w").cols(), 3);
}

TEST_F(SourceTensorTest, RefusesIntegers) {
  add_stored("w", DType::kI8, {2}, std::vector<std::byte>(2));
  EXPECT_THAT(refusal(ErrorCode::kUnsupported), HasSubstr("got I8"));
}

TEST_F(SourceTensorTest, NamesMissingBlockScales) {
  add_stored("w", DType::kF8E4M3, {2, 2}, std::vector<std::byte>(4));
  EXPECT_THAT(refusal(ErrorCode::kNotFound), HasSubstr("'w_scale_inv'"));
}

TEST_F(SourceTensorTest, RefusesBlockScalesOfAnotherShape) {
  add_stored("w", DType::kF8E4M3, {2, 130}, std::vector<std::byte>(260));
  add("w_scale_inv", {1.0F, 1.0F, 1.0F}, 1);
  EXPECT_THAT(refusal(ErrorCode::kCorrupt), HasSubstr("shape [1, 2] expected"));
}

TEST_F(SourceTensorTest, OneScaleIsThatOfTheWholeTensor) {
  add_fp8(130, 257, DType::kBf16);
  std::fill(scales_.begin(), scales_.end(), 0.375F);
  add("v", {0.375F}, 1, DType::kBf16);
  const Checkpoint made = open();
  TensorMap tensors{{"w", made.get("w")}, {"w_scale_inv", made.get("v")}};
  const Checkpoint checkpoint = Checkpoint::of_tensors({}, tensors);
  EXPECT_EQ(row(SourceTensor(checkpoint, "w"), 129)[256], expected(257, 129, 256));
  // Where config.json says that there are blocks, some are missing.
  ModelConfig blocks;
  blocks.weight_block_size = {128, 128};
  error_of(ErrorCode::kCorrupt, [&] { SourceTensor(Checkpoint::of_tensors(blocks, tensors), "w"); });
}

TEST_F(SourceTensorTest, RefusesAPowerOfTwoThatIsNaN) {
  add_stored("w", DType::kF8E4M3, {2, 2}, std::vector<std::byte>(4));
  add_stored("w_scale_inv", DType::kF8E8M0, {1, 1}, {std::byte{0xff}});
  EXPECT_THAT(refusal(ErrorCode::kCorrupt), HasSubstr("'w_scale_inv'"));
}

TEST_F(SourceTensorTest, RefusesBlockScalesThatAreIntegers) {
  add_stored("w", DType::kF8E4M3, {2, 2}, std::vector<std::byte>(4));
  add_stored("w_scale_inv", DType::kI8, {1, 1}, {std::byte{1}});
  EXPECT_THAT(refusal(ErrorCode::kUnsupported), HasSubstr("got I8"));
}

}  // namespace
}  // namespace latent8
