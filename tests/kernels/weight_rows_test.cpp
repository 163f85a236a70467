#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/ref/linear_ref.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

constexpr std::int64_t kWidths[] = {1, 3, 4, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 256, 300, 512, 1371};

// A stored weight of any type, with what its WeightRows points at.
class StoredWeight {
 public:
  StoredWeight(WeightType type, std::int64_t m, std::int64_t k, const std::vector<float>& values,
               std::int64_t row0 = 0)
      : block_scale_(normal_floats((row0 + m + 127) / 128 * ((k + 127) / 128), 77)) {
    rows_.type = type;
    rows_.m = m;
    rows_.k = k;
    rows_.row0 = row0;
    bytes_.resize(values.size() * static_cast<std::size_t>(size_of(dtype_of(type))));
    if (type == WeightType::kF8E4M3)
      for (std::size_t i = 0; i < values.size(); ++i)
        bytes_[i] = static_cast<std::byte>(to_fp8_e4m3(values[i]).bits);
    else
      narrow(values.data(), dtype_of(type), static_cast<std::int64_t>(values.size()), bytes_.data());
    rows_.w = bytes_.data();
    rows_.block_scale = block_scale_.data();
    rows_.block_scale_stride = (k + 127) / 128;
  }
  StoredWeight(const StoredWeight&) = delete;
  StoredWeight& operator=(const StoredWeight&) = delete;

  const WeightRows& rows() const { return rows_; }
  WeightRows with_folds(const std::vector<float>& row_scale, const std::vector<float>& col_scale) const {
    WeightRows rows = rows_;
    rows.row_scale = row_scale.data();
    rows.col_scale = col_scale.data();
    return rows;
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  WeightRows rows_;
  std::vector<std::byte> bytes_;
  std::vector<float> block_scale_;
};

// Normal weights; with fp8 of a deviation that fills the type.
std::vector<float> weights_for(WeightType type, std::int64_t n, std::uint64_t seed) {
  std::vector<float> values = normal_floats(n, seed);
  for (float& x : values)
    x = type == WeightType::kF8E4M3 ? std::clamp(x * 100.0F, -448.0F, 448.0F) : x * 0.02F;
  return values;
}

float bf16(float x) { return to_float(to_bf16(x)); }

class WeightRowsTest : public KernelTest {
 protected:
  std::vector<float> widened(const WeightRows& rows) const {
    std::vector<float> out(static_cast<std::size_t>(rows.m * rows.k));
    table().widen_weight({rows, out.data()});
    return out;
  }
  std::vector<float> amax(const WeightRows& rows) const {
    std::vector<float> out(static_cast<std::size_t>(rows.m));
    table().weight_amax({rows, out.data()});
    return out;
  }
  void expect_codes(const WeightRows& rows, const std::vector<float>& scale) const {
    const auto m = static_cast<std::size_t>(rows.m);
    std::vector<std::int8_t> q(m * static_cast<std::size_t>(rows.k), 99);
    std::vector<std::int32_t> sum(m);
    table().weight_codes({rows, scale.data(), q.data(), sum.data()});
    const QuantizedRef want = weight_codes_ref(rows, scale.data());
    EXPECT_EQ(q, want.q) << "k " << rows.k << " " << to_string(dtype_of(rows.type));
    EXPECT_EQ(sum, want.sum) << "k " << rows.k << " " << to_string(dtype_of(rows.type));
  }
  template <class Check>
  static void for_every_type(const Check& check) {
    for (const WeightType type : {WeightType::kF32, WeightType::kBf16, WeightType::kF16, WeightType::kF8E4M3})
      for (const std::int64_t k : kWidths) {
        const StoredWeight w(type, 5, k, weights_for(type, 5 * k, static_cast<std::uint64_t>(k)), 126);
        check(w);
      }
  }
};

TEST_P(WeightRowsTest, WidensWhatTheReferenceWidens) {
  for_every_type([&](const StoredWeight& w) { EXPECT_EQ(widened(w.rows()), widen_weight_ref(w.rows())); });
}

TEST_P(WeightRowsTest, MultipliesWithTheFolds) {
  for_every_type([&](const StoredWeight& w) {
    const std::vector<float> row = normal_floats(w.rows().m, 5), col = normal_floats(w.rows().k, 6);
    const WeightRows folded = w.with_folds(row, col);
    EXPECT_EQ(widened(folded), widen_weight_ref(folded));
  });
}

TEST_P(WeightRowsTest, WidensNaNToNaN) {
  StoredWeight w(WeightType::kF8E4M3, 1, 70, weights_for(WeightType::kF8E4M3, 70, 1));
  w.bytes()[3] = std::byte{0x7f};
  w.bytes()[69] = std::byte{0xff};

  const std::vector<float> got = widened(w.rows());

  EXPECT_TRUE(std::isnan(got[3]));
  EXPECT_TRUE(std::isnan(got[69]));
  EXPECT_FALSE(std::isnan(got[4]));
}

TEST_P(WeightRowsTest, FindsTheLargestMagnitudeOfEveryRow) {
  for_every_type([&](const StoredWeight& w) { EXPECT_EQ(amax(w.rows()), weight_amax_ref(w.rows())); });
}

TEST_P(WeightRowsTest, SaysWhichRowHasANaN) {
  for (const WeightType type : {WeightType::kF32, WeightType::kBf16, WeightType::kF16, WeightType::kF8E4M3})
    for (const std::size_t at : {0, 63, 64, 130, 134}) {
      std::vector<float> values = weights_for(type, 3 * 135, 2);
      values[135 + at] = std::numeric_limits<float>::quiet_NaN();
      const StoredWeight w(type, 3, 135, values);

      const std::vector<float> got = amax(w.rows());

      EXPECT_TRUE(std::isnan(got[1])) << to_string(dtype_of(type)) << " " << at;
      EXPECT_TRUE(std::isfinite(got[0]) && std::isfinite(got[2])) << to_string(dtype_of(type)) << " " << at;
    }
}

TEST_P(WeightRowsTest, CountsInfinityAsNaN) {
  for (const WeightType type : {WeightType::kF32, WeightType::kBf16, WeightType::kF16})
    for (const float infinity : {HUGE_VALF, -HUGE_VALF}) {
      std::vector<float> values = weights_for(type, 70, 2);
      values[66] = infinity;
      EXPECT_TRUE(std::isnan(amax(StoredWeight(type, 1, 70, values).rows())[0]));
    }
}

TEST_P(WeightRowsTest, DividesByAScaleOfTheStoredTypeExactly) {
  for_every_type([&](const StoredWeight& w) {
    std::vector<float> scale = weight_amax_ref(w.rows());
    for (float& s : scale) s = bf16(s / 127.0F);
    expect_codes(w.rows(), scale);
  });
}

TEST_P(WeightRowsTest, DividesByAnyScaleExactly) {
  for_every_type([&](const StoredWeight& w) {
    std::vector<float> scale = weight_amax_ref(w.rows());
    for (float& s : scale) s = s / 127.0F;
    expect_codes(w.rows(), scale);
  });
}

TEST_P(WeightRowsTest, ClampsAtBothEnds) {
  for (const WeightType type : {WeightType::kF32, WeightType::kBf16, WeightType::kF16, WeightType::kF8E4M3}) {
    const StoredWeight w(type, 2, 200, weights_for(type, 400, 3));
    std::vector<float> scale = weight_amax_ref(w.rows());
    scale[0] /= 40.0F;
    scale[1] /= 1e8F;
    expect_codes(w.rows(), scale);
  }
}

TEST_P(WeightRowsTest, QuantisesEveryFp8Number) {
  std::vector<float> values;
  for (int code = 0; code < 256; ++code)
    values.push_back((code & 0x7f) == 0x7f ? 0.0F : to_float(Fp8E4M3{static_cast<std::uint8_t>(code)}));
  const StoredWeight w(WeightType::kF8E4M3, 1, 256, values);
  const float amax_of_row = weight_amax_ref(w.rows())[0];
  for (const float codes : {127.0F, 3.0F, 254.0F, 1e6F}) expect_codes(w.rows(), {amax_of_row / codes});
}

// The division is done with multiplications: quotients within a few ulps of a tie are where that could show.
TEST_P(WeightRowsTest, RoundsLikeADivisionAroundEveryTie) {
  Rng rng(11);
  for (int round = 0; round < 200; ++round) {
    float scale = std::bit_cast<float>(static_cast<std::uint32_t>(0x34000000 + rng.below(0x10000000)));
    if (round % 3 == 1) scale = bf16(scale);
    if (round % 3 == 2) scale = std::ldexp(1.0F + std::ldexp(static_cast<float>(rng.below(3)), -23), -7);
    std::vector<float> values;
    for (int twice = 1; twice < 256; ++twice) {
      float w = static_cast<float>(twice) * 0.5F * scale;
      for (int i = 0; i < 3; ++i) w = std::nextafter(w, 0.0F);
      for (int i = 0; i < 7; ++i, w = std::nextafter(w, HUGE_VALF)) values.push_back(i % 2 == 0 ? w : -w);
    }
    const auto k = static_cast<std::int64_t>(values.size());
    expect_codes(StoredWeight(WeightType::kF32, 1, k, values).rows(), {scale});
    if (HasFailure()) return;
  }
}

// The code for x / scale changes where x / scale is M, one of the two midpoints of fp32 numbers around n +
// 1/2. All pairs of 24-bit integers with |x - M * scale| <= kNear: the only ones where an error of 2^-46
// could change a code. M is odd, so that M * scale = j modulo 2^24 has one solution for every j.
struct NearPair {
  std::int64_t x, scale;
};
std::vector<NearPair> pairs_near_a_change(std::int64_t n, int sign) {
  constexpr std::int64_t kNear = 16;
  std::int64_t tie = 2 * n + 1;
  while (tie < 1 << 24) tie *= 2;
  const std::int64_t m = n == 0 && sign < 0 ? (1 << 25) - 1 : tie + sign;  // below 1/2 numbers lie denser
  std::int64_t inverse = m;
  for (int i = 0; i < 5; ++i) inverse = inverse * (2 - m * inverse % (1 << 24)) % (1 << 24);
  std::vector<NearPair> pairs;
  for (std::int64_t j = -kNear; j <= kNear; ++j) {
    const std::int64_t scale = ((j * inverse) % (1 << 24) + (1 << 24)) % (1 << 24);
    const std::int64_t x = m * scale - j;
    const std::int64_t step = m * scale < std::int64_t{1} << 48 ? 1 << 24 : 1 << 25;
    if (scale >= 1 << 23 && j != 0 && x % step == 0) pairs.push_back({x, scale});
  }
  return pairs;
}

TEST_P(WeightRowsTest, RoundsLikeADivisionWhereverOneStepCouldDiffer) {
  std::size_t count = 0;
  for (std::int64_t n = 0; n < 128; ++n)
    for (const int sign : {-1, 1})
      for (const NearPair& pair : pairs_near_a_change(n, sign)) {
        // x / scale is between 2^23 and 2^25 here, and between 2^e and 2^(e + 1) around n + 1/2.
        const int e = std::ilogb(static_cast<double>(n) + (sign < 0 && n == 0 ? 0.49 : 0.5));
        const int exponent = std::ilogb(static_cast<double>(pair.x) / static_cast<double>(pair.scale));
        const std::vector<float> values(70, std::ldexp(static_cast<float>(pair.x), e - exponent - 40));
        expect_codes(StoredWeight(WeightType::kF32, 1, 70, values).rows(),
                     {std::ldexp(static_cast<float>(pair.scale), -40)});
        if (HasFailure()) return;
        ++count;
      }
  EXPECT_EQ(count, 2848U);
}

TEST_P(WeightRowsTest, RoundsLikeADivisionForNumbersOfAnySize) {
  Rng rng(12);
  for (const float scale : {0x1p-23F, 1.3e-7F, 3.1e-5F, 0.7F, 3.1e10F, 2.6e36F}) {
    std::vector<float> values;
    for (int i = 0; i < 4000; ++i) {
      const float w = std::bit_cast<float>(static_cast<std::uint32_t>(rng.below(0x7f800000)));
      if (w / scale < 1e8F) values.push_back(i % 2 == 0 ? w : -w);
    }
    const auto k = static_cast<std::int64_t>(values.size());
    expect_codes(StoredWeight(WeightType::kF32, 1, k, values).rows(), {scale});
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, WeightRowsTest, every_table(), table_name);

}  // namespace
}  // namespace latent8
