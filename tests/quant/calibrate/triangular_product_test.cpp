#include "quant/calibrate/triangular_product.h"

#include <gtest/gtest.h>

#include "base/aligned_buffer.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

constexpr std::int64_t kChannels = 200, kProductRows = 37;  // no multiples of a block or a tile

class TriangularProduct : public KernelTest {
 protected:
  TriangularProduct() {
    fill(e_, 1);
    fill(l_, 2);
    fill(y_, 3);
  }
  static void fill(Matrix<float>& m, std::uint64_t seed) {
    const std::vector<float> values = normal_floats(m.rows() * m.cols(), seed);
    std::copy(values.begin(), values.end(), m.row(0));
  }
  void add(std::int64_t begin, std::int64_t end, std::int64_t c0, std::int64_t c1, Matrix<float>& y) const {
    std::vector<float> scratch(triangular_scratch(end - begin));
    add_triangular_product(table(), e_.view().row_range(begin, end), l_.view(), c0, c1, scratch.data(),
                           y.view().row_range(begin, end));
  }
  Matrix<float> copy_of_y() const {
    Matrix<float> out(kProductRows, kChannels);
    std::copy_n(y_.row(0), kProductRows * kChannels, out.row(0));
    return out;
  }

  Matrix<float> e_{kProductRows, kChannels}, l_{kChannels, kChannels}, y_{kProductRows, kChannels};
};

TEST_P(TriangularProduct, AddsWhatABlockGivesTheChannelsBeforeIt) {
  for (const auto& [c0, c1] : {std::pair{0L, 64L}, std::pair{64L, 128L}, std::pair{192L, kChannels}}) {
    Matrix<float> y = copy_of_y();
    add(0, kProductRows, c0, c1, y);
    for (std::int64_t r = 0; r < kProductRows; ++r)
      for (std::int64_t c = 0; c < kChannels; ++c) {
        double want = double{y_.row(r)[c]};
        for (std::int64_t k = c0; k < c1 && c < c0; ++k) want += double{e_.row(r)[k]} * l_.row(k)[c];
        ASSERT_NEAR(y.row(r)[c], want, c < c0 ? 1e-4 : 0.0) << r << ", " << c;
      }
  }
}

TEST_P(TriangularProduct, GivesARowTheSameBitsAmongAnyOthers) {
  Matrix<float> all = copy_of_y(), single = copy_of_y();
  add(0, kProductRows, 128, 192, all);
  for (std::int64_t r = 0; r < kProductRows; ++r) add(r, r + 1, 128, 192, single);
  EXPECT_TRUE(std::equal(all.row(0), all.row(0) + kProductRows * kChannels, single.row(0)));
}

INSTANTIATE_TEST_SUITE_P(Tables, TriangularProduct, every_table(), table_name);

}  // namespace
}  // namespace latent8
