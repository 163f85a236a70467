#include "quant/weights/expert_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "base/rng.h"
#include "quant/support.h"
#include "quant/weights/weight_quantizer.h"
#include "source/source_reader.h"
#include "support/errors.h"

namespace latent8 {
namespace {

using testing::HasSubstr;

// Everything that a stream hands over, by tensor.
struct Collected {
  std::vector<std::int8_t> codes;
  std::vector<float> scale;
  std::vector<std::int32_t> row_sum;
  bool operator==(const Collected&) const = default;
};

class ExpertStreamTest : public SmallCheckpoint, public testing::Test {
 protected:
  static std::vector<float> normal(std::int64_t n, std::uint64_t seed) {
    Rng rng(seed);
    std::vector<float> out(static_cast<std::size_t>(n));
    for (float& x : out) x = rng.normal();
    return out;
  }
  std::vector<Collected> collect(int threads, std::span<const SourceTensor> tensors,
                                 std::int64_t piece_bytes) {
    ThreadPool pool(threads);
    std::vector<Collected> all(tensors.size());
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      const auto rows = static_cast<std::size_t>(tensors[t].rows());
      all[t] = {std::vector<std::int8_t>(rows * static_cast<std::size_t>(tensors[t].cols()), 99),
                std::vector<float>(rows, -1.0F), std::vector<std::int32_t>(rows, -1)};
    }
    stream_weights(
        pool, tensors, DType::kBf16,
        [&](std::size_t t, const QuantizedRows& rows) {
          const std::lock_guard lock(mutex_);
          const auto at = rows.row;
          std::copy(rows.codes.begin(), rows.codes.end(), all[t].codes.begin() + at * tensors[t].cols());
          std::copy(rows.scale.begin(), rows.scale.end(), all[t].scale.begin() + at);
          std::copy(rows.row_sum.begin(), rows.row_sum.end(), all[t].row_sum.begin() + at);
          handed_over_ += rows.count;
        },
        piece_bytes);
    return all;
  }

  std::mutex mutex_;
  std::int64_t handed_over_ = 0;
};

TEST_F(ExpertStreamTest, HandsOverEveryRowWhateverThePieces) {
  add("a", normal(37 * 50, 1), 50, DType::kBf16);
  add("b", normal(5 * 300, 2), 300, DType::kF16);
  const Checkpoint checkpoint = open();
  const SourceReader reader(checkpoint);
  const std::vector<SourceTensor> tensors{SourceTensor(reader, "a"), SourceTensor(reader, "b")};

  const std::vector<Collected> small = collect(2, tensors, 1);
  EXPECT_EQ(handed_over_, 42);
  EXPECT_EQ(small, collect(1, tensors, 1000));
  EXPECT_EQ(small, collect(3, tensors, 1 << 20));
}

TEST_F(ExpertStreamTest, DividesByTheRoundedScaleOfTheRow) {
  const std::vector<float> values = normal(4 * 70, 3);
  add("a", values, 70);
  const Checkpoint checkpoint = open();
  const std::vector<SourceTensor> tensors{SourceTensor(checkpoint, "a")};

  const Collected got = collect(1, tensors, 1 << 20)[0];

  for (std::size_t r = 0; r < 4; ++r) {
    float amax = 0.0F;
    std::int32_t sum = 0;
    for (std::size_t c = 0; c < 70; ++c) amax = std::max(amax, std::fabs(values[r * 70 + c]));
    EXPECT_EQ(got.scale[r], to_float(to_bf16(amax / 127.0F)));
    for (std::size_t c = 0; c < 70; ++c) {
      EXPECT_EQ(got.codes[r * 70 + c], std::nearbyint(values[r * 70 + c] / got.scale[r]));
      sum += got.codes[r * 70 + c];
    }
    EXPECT_EQ(got.row_sum[r], sum);
  }
}

TEST_F(ExpertStreamTest, QuantisesTheFoldedWeight) {
  constexpr std::int64_t kRows = 40, kCols = 5000;  // more than one step of widened rows
  const std::vector<float> values = normal(kRows * kCols, 4), row = normal(kRows, 5), col = normal(kCols, 6);
  std::vector<float> folded(values.size());
  for (std::int64_t i = 0; i < kRows * kCols; ++i) {
    const auto at = static_cast<std::size_t>(i);
    folded[at] =
        values[at] * row[static_cast<std::size_t>(i / kCols)] * col[static_cast<std::size_t>(i % kCols)];
  }
  add("w", values, kCols);
  add("folded", folded, kCols);
  const Checkpoint checkpoint = open();
  const SourceReader reader(checkpoint);

  const auto got = collect(2, std::vector{SourceTensor(reader, "w", {row, col})}, 1 << 20);

  EXPECT_EQ(got, collect(1, std::vector{SourceTensor(reader, "folded")}, 1 << 20));
}

TEST_F(ExpertStreamTest, NamesTheTensorAndTheRowOfANaN) {
  std::vector<float> values = normal(64 * 64, 7);
  values[33 * 64 + 5] = std::numeric_limits<float>::quiet_NaN();
  add("good", normal(64 * 64, 8), 64);
  add("bad", values, 64);
  const Checkpoint checkpoint = open();
  const std::vector<SourceTensor> tensors{SourceTensor(checkpoint, "good"), SourceTensor(checkpoint, "bad")};

  const std::string message = error_of(ErrorCode::kCorrupt, [&] { collect(2, tensors, 2048); });

  EXPECT_THAT(message, HasSubstr("'bad'"));
  EXPECT_THAT(message, HasSubstr("row 33"));
}

TEST_F(ExpertStreamTest, RefusesARowWhoseScaleDoesNotFitItsType) {
  add("w", {3e38F, 1.0F}, 2);
  const Checkpoint checkpoint = open();
  ThreadPool pool(1);

  EXPECT_THAT(error_of(ErrorCode::kUnsupported,
                       [&] { quantize_weight(pool, SourceTensor(checkpoint, "w"), DType::kF16); }),
              HasSubstr("'w'"));
}

TEST_F(ExpertStreamTest, PassesOnWhatTheSinkThrows) {
  add("w", normal(64 * 64, 9), 64);
  const Checkpoint checkpoint = open();
  const std::vector<SourceTensor> tensors{SourceTensor(checkpoint, "w")};
  ThreadPool pool(2);

  EXPECT_THROW(stream_weights(
                   pool, tensors, DType::kBf16,
                   [](std::size_t, const QuantizedRows&) { throw Error(ErrorCode::kIo, "disk full"); }, 256),
               Error);
}

}  // namespace
}  // namespace latent8
