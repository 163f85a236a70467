#include "quant/weights/compensated_rounding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "quant/calibrate/output_error.h"
#include "quant/weights/rounding.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

constexpr std::int64_t kIn = 200, kOut = 37, kTokens = 700;

struct Problem {
  Matrix<float> x{kTokens, kIn}, w{kOut, kIn};
  std::vector<std::uint8_t> counts = std::vector<std::uint8_t>(kTokens, 1);
  std::vector<float> scale;
};

// Inputs with few large directions, as activations have.
Problem problem() {
  Problem p;
  const std::vector<float> base = normal_floats(kTokens * 8, 1), mix = normal_floats(8 * kIn, 2),
                           noise = normal_floats(kTokens * kIn, 3), w = normal_floats(kOut * kIn, 4);
  for (std::int64_t t = 0; t < kTokens; ++t)
    for (std::int64_t c = 0; c < kIn; ++c) {
      float sum = 0.3F * noise[t * kIn + c];
      for (std::int64_t k = 0; k < 8; ++k) sum += base[t * 8 + k] * mix[k * kIn + c];
      p.x.row(t)[c] = sum;
    }
  for (std::int64_t r = 0; r < kOut; ++r) {
    float amax = 0.0F;
    for (std::int64_t c = 0; c < kIn; ++c) {
      p.w.row(r)[c] = w[r * kIn + c];
      amax = std::max(amax, std::fabs(w[r * kIn + c]));
    }
    p.scale.push_back(symmetric_scale(DType::kBf16, amax));
  }
  return p;
}

// Sum of squares of x (w - codes * scale)^T.
double output_error(const Problem& p, const QuantizedWeight& q) {
  double error = 0.0;
  for (std::int64_t t = 0; t < kTokens; ++t)
    for (std::int64_t r = 0; r < kOut; ++r) {
      double y = 0.0;
      for (std::int64_t c = 0; c < kIn; ++c)
        y += double{p.x.row(t)[c]} *
             (double{p.w.row(r)[c]} - double{q.scale[static_cast<std::size_t>(r)]} * q.codes.row(r)[c]);
      error += y * y;
    }
  return error;
}

QuantizedWeight nearest(const Problem& p) {
  QuantizedWeight q;
  q.codes = Matrix<std::int8_t>(kOut, kIn);
  q.scale = p.scale;
  for (std::int64_t r = 0; r < kOut; ++r)
    for (std::int64_t c = 0; c < kIn; ++c)
      q.codes.row(r)[c] = static_cast<std::int8_t>(
          std::clamp(std::nearbyint(p.w.row(r)[c] / p.scale[static_cast<std::size_t>(r)]), -127.0F, 127.0F));
  return q;
}

QuantizedWeight compensated(const Problem& p, int threads, const KernelTable& table = kernels()) {
  ThreadPool pool(threads);
  OpContext ctx(pool, table);
  Hessian hessian(kIn);
  hessian.add(ctx, p.x.view(), p.counts);
  return quantize_compensated(ctx, p.w.view(), hessian.factor(ctx, 0.01).l, p.scale);
}

// Sum of squares of x w^T.
double output_energy(const Problem& p) {
  QuantizedWeight zero;
  zero.codes = Matrix<std::int8_t>(kOut, kIn);
  zero.scale = p.scale;
  return output_error(p, zero);
}

// What rounding that cancels errors means, in double and without a factor of the Hessian: with the columns
// after k rounded, those up to k could still take any value; the best ones change w[0..k] by
// inverse(H[0..k, 0..k]) H[0..k, k+1..] error[k+1..], and w[k] with its change is what is rounded.
// Source: Frantar et al., "Optimal Brain Compression" (2022), equation 3, for more than one rounded column.
class PlainFeedback {
 public:
  explicit PlainFeedback(const Problem& p, double damping) : h_(kIn * kIn), c_(kIn * kIn) {
    double mean = 0.0;
    for (std::int64_t i = 0; i < kIn; ++i) {
      for (std::int64_t j = 0; j < kIn; ++j)
        for (std::int64_t t = 0; t < kTokens; ++t) h(i, j) += double{p.x.row(t)[i]} * p.x.row(t)[j];
      mean += h(i, i) / kIn;
    }
    for (std::int64_t i = 0; i < kIn; ++i) h(i, i) += damping * mean;
    for (std::int64_t i = 0; i < kIn; ++i)  // H = C C^T; a leading block of C factors that block of H
      for (std::int64_t j = 0; j <= i; ++j) {
        double sum = h(i, j);
        for (std::int64_t k = 0; k < j; ++k) sum -= c(i, k) * c(j, k);
        c(i, j) = i == j ? std::sqrt(sum) : sum / c(j, j);
      }
  }

  // What w[k] is changed by, per error of each column after it: [kIn], 0 up to k.
  std::vector<double> of_column(std::int64_t k) {
    std::vector<double> y(kIn), out(kIn);  // y: row k of the inverse
    for (std::int64_t i = k; i >= 0; --i) {
      double sum = i == k ? 1.0 / c(k, k) : 0.0;
      for (std::int64_t j = i + 1; j <= k; ++j) sum -= c(j, i) * y[j];
      y[i] = sum / c(i, i);
    }
    for (std::int64_t j = k + 1; j < kIn; ++j)
      for (std::int64_t i = 0; i <= k; ++i) out[j] += y[i] * h(i, j);
    return out;
  }

 private:
  double& h(std::int64_t i, std::int64_t j) { return h_[static_cast<std::size_t>(i * kIn + j)]; }
  double& c(std::int64_t i, std::int64_t j) { return c_[static_cast<std::size_t>(i * kIn + j)]; }
  std::vector<double> h_, c_;
};

class CompensatedRounding : public KernelTest {};

// Every code against the errors of the codes after it, so that one that float sums round otherwise does not
// change what the others are held to.
TEST_P(CompensatedRounding, RoundsWhatThePlainFeedbackAsksFor) {
  const Problem p = problem();
  const QuantizedWeight q = compensated(p, 2, table());
  PlainFeedback plain(p, 0.01);
  const auto error = [&](std::int64_t r, std::int64_t c) {
    return double{p.w.row(r)[c]} - double{q.scale[static_cast<std::size_t>(r)]} * q.codes.row(r)[c];
  };
  double largest = 0.0;
  for (std::int64_t k = 0; k < kIn; ++k) {
    const std::vector<double> feedback = plain.of_column(k);
    for (std::int64_t r = 0; r < kOut; ++r) {
      double wanted = p.w.row(r)[k];
      for (std::int64_t j = k + 1; j < kIn; ++j)
        wanted += feedback[static_cast<std::size_t>(j)] * error(r, j);
      largest = std::max(largest, std::fabs(wanted - p.w.row(r)[k]) / q.scale[static_cast<std::size_t>(r)]);
      const double in_steps = std::clamp(wanted / q.scale[static_cast<std::size_t>(r)], -127.0, 127.0);
      ASSERT_NEAR(q.codes.row(r)[k], in_steps, 0.5 + 2e-3) << r << " " << k;
    }
  }
  EXPECT_GT(largest, 1.0);  // there is something to feed back
}

TEST_P(CompensatedRounding, MeasuresBothErrorsOfTheOutputs) {
  Problem p = problem();
  for (std::int64_t t = 0; t < kTokens; ++t) p.x.row(t)[5] = 0.0F;  // a channel that says nothing
  p.counts[7] = 0;
  ThreadPool pool(2);
  OpContext ctx(pool, table());
  Hessian hessian(kIn);
  hessian.add(ctx, p.x.view(), p.counts);
  const HessianFactor factor = hessian.factor(ctx, 0.01);
  const QuantizedWeight q = quantize_compensated(ctx, p.w.view(), factor.l, p.scale);
  OutputErrors errors;

  errors.add(ctx, p.w.view(), q, factor);

  for (float& value : p.x.view().row_span(7)) value = 0.0F;  // does not count
  for (std::int64_t r = 16; r < kOut; ++r)                   // and outputs that are not looked at
    for (std::int64_t c = 0; c < kIn; ++c) p.w.row(r)[c] = 0.0F;
  QuantizedWeight written = nearest(p);
  std::copy_n(q.codes.row(0), 16 * kIn, written.codes.row(0));
  EXPECT_EQ(errors.linears, 1);
  EXPECT_NEAR(errors.nearest, output_error(p, nearest(p)) / output_energy(p), 1e-3 * errors.nearest);
  EXPECT_NEAR(errors.written, output_error(p, written) / output_energy(p), 1e-3 * errors.nearest);
  EXPECT_LT(errors.written, 0.25 * errors.nearest);
}

TEST_P(CompensatedRounding, LeavesAFractionOfTheErrorOfNearestRounding) {
  const Problem p = problem();
  EXPECT_LT(output_error(p, compensated(p, 1, table())), 0.25 * output_error(p, nearest(p)));
}
INSTANTIATE_TEST_SUITE_P(Tables, CompensatedRounding, every_table(), table_name);

TEST(CompensatedRoundingTest, IsNearestRoundingWhereChannelsAreIndependent) {
  Problem p = problem();
  for (std::int64_t t = 0; t < kTokens; ++t)
    for (std::int64_t c = 0; c < kIn; ++c) p.x.row(t)[c] = t % kIn == c ? 1.0F : 0.0F;
  const QuantizedWeight expected = nearest(p), got = compensated(p, 1);
  for (std::int64_t r = 0; r < kOut; ++r)
    for (std::int64_t c = 0; c < kIn; ++c) ASSERT_EQ(got.codes.row(r)[c], expected.codes.row(r)[c]);
}

TEST(CompensatedRoundingTest, GivesTheSameCodesWithAnyNumberOfThreads) {
  const Problem p = problem();
  const QuantizedWeight one = compensated(p, 1), three = compensated(p, 3);
  for (std::int64_t r = 0; r < kOut; ++r)
    for (std::int64_t c = 0; c < kIn; ++c) ASSERT_EQ(one.codes.row(r)[c], three.codes.row(r)[c]);
}

TEST(CompensatedRoundingTest, ReportsTheSumOfTheCodesOfARow) {
  const QuantizedWeight q = compensated(problem(), 2);
  std::int64_t sum = 0;
  for (std::int64_t c = 0; c < kIn; ++c) sum += q.codes.row(5)[c];
  EXPECT_EQ(q.row_sum[5], sum);
}

void expect_same_factor(OpContext& ctx, Hessian& a, Hessian& b) {
  EXPECT_EQ(a.rows(), b.rows());
  const HessianFactor of_a = a.factor(ctx, 0.01), of_b = b.factor(ctx, 0.01);
  for (std::int64_t r = 0; r < kIn; ++r)
    ASSERT_TRUE(std::equal(of_a.l.row(r), of_a.l.row(r) + r + 1, of_b.l.row(r))) << r;
  EXPECT_TRUE(std::ranges::equal(of_a.d, of_b.d));
}

TEST(Hessian, LeavesOutRowsThatDoNotCount) {
  Problem p = problem();
  ThreadPool pool(1);
  OpContext ctx(pool);
  Hessian all(kIn), some(kIn);
  all.add(ctx, p.x.view().row_range(0, 10), std::span(p.counts).first(10));
  std::vector<std::uint8_t> counts(kTokens, 0);
  std::fill_n(counts.begin(), 10, 1);
  some.add(ctx, p.x.view(), counts);
  EXPECT_EQ(some.rows(), 10);
  expect_same_factor(ctx, all, some);
}

// How many tokens a step has depends on the memory there is, which must change no bit.
TEST(Hessian, IsTheSameHoweverItsRowsAreHandedOver) {
  Problem p = problem();
  for (std::size_t t = 0; t < p.counts.size(); t += 7) p.counts[t] = 0;
  ThreadPool pool(2);
  OpContext ctx(pool);
  Hessian whole(kIn), parts(kIn);
  whole.add(ctx, p.x.view(), p.counts);
  std::int64_t begin = 0;
  for (const std::int64_t end : {std::int64_t{3}, std::int64_t{200}, std::int64_t{599}, kTokens}) {
    parts.add(
        ctx, p.x.view().row_range(begin, end),
        std::span(p.counts).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    begin = end;
  }
  expect_same_factor(ctx, whole, parts);
}

TEST(Hessian, FactorsIntoATriangleThatGivesTheMatrixBack) {
  Problem p = problem();
  ThreadPool pool(2);
  OpContext ctx(pool);
  Hessian factored(kIn);
  factored.add(ctx, p.x.view(), p.counts);
  const ConstMat<float> l = factored.factor(ctx, 0.01).l;
  // H[i, j] = sum over k of L[i, k] D[k] L[j, k]; D from the diagonal: D[i] = H[i, i] - sum of earlier terms.
  double mean = 0.0;
  std::vector<double> diagonal(kIn), d(kIn);
  for (std::int64_t c = 0; c < kIn; ++c) {
    for (std::int64_t t = 0; t < kTokens; ++t) diagonal[c] += double{p.x.row(t)[c]} * p.x.row(t)[c];
    mean += diagonal[c] / kIn;
  }
  for (std::int64_t i = 0; i < kIn; ++i) {
    d[i] = diagonal[i] + 0.01 * mean;
    for (std::int64_t k = 0; k < i; ++k) d[i] -= double{l.row(i)[k]} * l.row(i)[k] * d[k];
    EXPECT_GT(d[i], 0.0);
  }
  for (std::int64_t i = 0; i < kIn; i += 7)
    for (std::int64_t j = 0; j < i; j += 5) {
      double expected = 0.0, got = 0.0;
      for (std::int64_t t = 0; t < kTokens; ++t) expected += double{p.x.row(t)[i]} * p.x.row(t)[j];
      for (std::int64_t k = 0; k <= j; ++k) got += double{l.row(i)[k]} * l.row(j)[k] * d[k];
      EXPECT_NEAR(got, expected, 1e-3 * mean);
    }
}

}  // namespace
}  // namespace latent8
