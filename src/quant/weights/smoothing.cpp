#include "quant/weights/smoothing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "ops/linear.h"
#include "quant/calibrate/observers.h"
#include "quant/latent/latent_fold.h"
#include "quant/weights/rounding.h"
#include "sys/parallel.h"

namespace latent8 {
namespace {

constexpr std::array kExponents{0.0, 0.25, 0.5, 0.75, 1.0};
// What a candidate has to leave of the error of the best before it, and the choice of that without: smaller
// gains on the calibration tokens are none elsewhere.
constexpr double kGain = 0.99, kLargestShare = 0.95;
// Channels that hardly ever differ from 0 count as if they had this share of the mean size.
constexpr double kSmallestShare = 1e-3;
constexpr std::int64_t kGrain = 16;  // rows of one piece of a parallel loop

// log2 of the rms of each column, relative to the mean over the columns.
std::vector<double> log_sizes(ConstMat<float> m) {
  std::vector<double> out(static_cast<std::size_t>(m.cols));
  for (std::int64_t r = 0; r < m.rows; ++r)
    for (std::size_t c = 0; c < out.size(); ++c) out[c] += double{m.row(r)[c]} * m.row(r)[c];
  double mean = 0.0;
  for (double& size : out) {
    size = std::sqrt(size / static_cast<double>(m.rows));
    mean += size / static_cast<double>(out.size());
  }
  double mean_log = 0.0;
  for (double& size : out) {
    size = std::log2(std::max(size, kSmallestShare * mean) + 1e-30);
    mean_log += size / static_cast<double>(out.size());
  }
  for (double& size : out) size -= mean_log;
  return out;
}

// out = the values of the symmetric codes of row * scale; the step is rounded to `type` if there is one.
void round_row(const float* row, std::span<const float> scale, const DType* type, float* out) {
  float amax = 0.0F;
  for (std::size_t c = 0; c < scale.size(); ++c) {
    out[c] = row[c] * scale[c];
    amax = std::max(amax, std::fabs(out[c]));
  }
  const float step = type != nullptr ? symmetric_scale(*type, amax) : std::max(amax / kMaxCode, 1e-30F);
  for (std::size_t c = 0; c < scale.size(); ++c)
    out[c] = std::clamp(std::nearbyint(out[c] / step), -kMaxCode, kMaxCode) * step;
}

struct Candidate {
  double alpha = 0.0, beta = 0.0;
  std::vector<float> scale;
};

// What differs from having no scale, that first.
std::vector<Candidate> candidates(ConstMat<float> x, ConstMat<float> w) {
  const std::vector<double> a = log_sizes(x), b = log_sizes(w);
  std::vector<Candidate> out{{0.0, 0.0, std::vector<float>(a.size(), 1.0F)}};
  for (const double alpha : kExponents)
    for (const double beta : kExponents) {
      std::vector<float> scale(a.size());
      for (std::size_t c = 0; c < a.size(); ++c)
        scale[c] = static_cast<float>(std::exp2(alpha * a[c] - beta * b[c]));
      scale = to_powers_of_two(std::move(scale));
      if (std::any_of(scale.begin(), scale.end(), [](float s) { return s != 1.0F; }))
        out.push_back({alpha, beta, std::move(scale)});
    }
  return out;
}

std::vector<float> inverse(std::span<const float> scale) {
  std::vector<float> out;
  for (const float s : scale) out.push_back(1.0F / s);
  return out;
}

// The ranges that a layer's observer would choose of x / scale, one per candidate.
std::vector<StaticInput> ranges(ThreadPool& pool, ConstMat<float> x, ConstMat<float> w, DType dtype,
                                const std::vector<Candidate>& candidates) {
  std::vector<double> energy(static_cast<std::size_t>(w.cols));
  for (std::int64_t r = 0; r < w.rows; ++r)
    for (std::size_t c = 0; c < energy.size(); ++c) energy[c] += double{w.row(r)[c]} * w.row(r)[c];
  std::vector<StaticInput> out(candidates.size());
  parallel_for_or_throw(pool, static_cast<std::int64_t>(out.size()), 1,
                        [&](std::int64_t i, std::int64_t, int) {
                          const std::vector<float>& scale = candidates[static_cast<std::size_t>(i)].scale;
                          const std::vector<float> factor = inverse(scale);
                          std::vector<double> scaled(energy.size());
                          for (std::size_t c = 0; c < scaled.size(); ++c)
                            scaled[c] = energy[c] * scale[c] * scale[c];
                          InputObserver observer(std::move(scaled));
                          std::vector<float> row(factor.size());
                          for (std::int64_t t = 0; t < x.rows; ++t) {
                            for (std::size_t c = 0; c < row.size(); ++c) row[c] = x.row(t)[c] * factor[c];
                            observer.observe({row.data(), 1, x.cols}, std::array<std::uint8_t, 1>{1});
                          }
                          out[static_cast<std::size_t>(i)] = observer.best_input(dtype);
                        });
  return out;
}

// The error of the outputs with one scale after another.
class Trial {
 public:
  Trial(OpContext& ctx, ConstMat<float> x, ConstMat<float> w, DType dtype)
      : ctx_(ctx),
        x_(x),
        w_(w),
        dtype_(dtype),
        wanted_(x.rows, w.rows),
        got_(x.rows, w.rows),
        input_(x.rows, x.cols),
        weight_(w.rows, w.cols) {
    multiply(x_, w_, wanted_);
  }

  // range: of a static input; without, every token has its own
  double error(const std::vector<float>& scale, const StaticInput* range) {
    const std::vector<float> factor = inverse(scale);
    for_rows(w_.rows, [&](std::int64_t r) { round_row(w_.row(r), scale, &dtype_, weight_.row(r)); });
    for_rows(x_.rows, [&](std::int64_t t) {
      if (range == nullptr) return round_row(x_.row(t), factor, nullptr, input_.row(t));
      for (std::size_t c = 0; c < factor.size(); ++c) {
        const float code = std::nearbyint(x_.row(t)[c] * factor[c] / range->scale + range->offset);
        input_.row(t)[c] = (std::clamp(code, -128.0F, 127.0F) - range->offset) * range->scale;
      }
    });
    multiply(input_.view(), weight_.view(), got_);
    std::vector<double> of_token(static_cast<std::size_t>(x_.rows));
    for_rows(x_.rows, [&](std::int64_t t) {
      double sum = 0.0;
      for (std::int64_t c = 0; c < w_.rows; ++c) {
        const double d = double{got_.row(t)[c]} - wanted_.row(t)[c];
        sum += d * d;
      }
      of_token[static_cast<std::size_t>(t)] = sum;
    });
    return std::accumulate(of_token.begin(), of_token.end(), 0.0);
  }

 private:
  template <class Body>
  void for_rows(std::int64_t n, const Body& body) {
    ctx_.pool().parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) body(r);
    });
  }

  void multiply(ConstMat<float> x, ConstMat<float> w, Matrix<float>& out) {
    Linear float_linear;
    float_linear.out_features = w.rows;
    float_linear.in_features = w.cols;
    float_linear.weight = w.data;
    linear(ctx_, float_linear, x, out.view());
  }

  OpContext& ctx_;
  ConstMat<float> x_, w_;
  DType dtype_;
  Matrix<float> wanted_, got_;    // [tokens, rows]
  Matrix<float> input_, weight_;  // quantised
};

}  // namespace

Smoothing choose_smoothing(OpContext& ctx, ConstMat<float> x, ConstMat<float> w,
                           const SmoothingTarget& target) {
  LATENT8_CHECK_EQ(x.cols, w.cols);
  Smoothing best;
  if (x.rows == 0) return best;
  const std::vector<Candidate> all = candidates(x, w);
  std::vector<StaticInput> static_ranges;
  if (!target.dynamic) static_ranges = ranges(ctx.pool(), x, w, target.dtype, all);
  Trial trial(ctx, x, w, target.dtype);
  double none = 0.0, least = 0.0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const double error = trial.error(all[i].scale, target.dynamic ? nullptr : &static_ranges[i]);
    if (i == 0) none = least = error;
    if (error >= kGain * least) continue;
    least = error;
    best = {all[i].scale, all[i].alpha, all[i].beta, error / none};
  }
  if (best.error > kLargestShare) return {};
  return best;
}

std::int64_t smoothing_bytes(std::int64_t rows, std::int64_t channels) {
  rows = std::min(rows, 2 * kSmoothingRows);
  return static_cast<std::int64_t>(sizeof(float)) *
         (2 * kSmoothingTokens * channels + 2 * rows * channels + 2 * kSmoothingTokens * rows);
}

}  // namespace latent8
