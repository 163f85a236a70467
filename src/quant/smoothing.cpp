#include "quant/smoothing.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "ops/linear.h"
#include "quant/latent_fold.h"
#include "quant/observers.h"
#include "quant/rounding.h"

namespace latent8 {
namespace {

constexpr std::array kExponents{0.0, 0.25, 0.5, 0.75, 1.0};
// What a candidate has to leave of the error of the best before it, and the choice of that without: smaller
// gains on the calibration tokens are none elsewhere.
constexpr double kGain = 0.99, kLargestShare = 0.95;
// Channels that hardly ever differ from 0 count as if they had this share of the mean size.
constexpr double kSmallestShare = 1e-3;
constexpr float kMaxCode = 127.0F;
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

// The error of the outputs with one scale after another.
class Trial {
 public:
  Trial(OpContext& ctx, ConstMat<float> x, ConstMat<float> w, const SmoothingTarget& target)
      : ctx_(ctx),
        x_(x),
        w_(w),
        target_(target),
        wanted_(x.rows, w.rows),
        got_(x.rows, w.rows),
        input_(x.rows, x.cols),
        weight_(w.rows, w.cols) {
    multiply(x_, w_, wanted_);
  }

  double error(std::span<const float> scale) {
    std::vector<float> inverse;
    for (const float s : scale) inverse.push_back(1.0F / s);
    for_rows(w_.rows, [&](std::int64_t r) { round_row(w_.row(r), scale, &target_.dtype, weight_.row(r)); });
    if (target_.dynamic)
      for_rows(x_.rows, [&](std::int64_t t) { round_row(x_.row(t), inverse, nullptr, input_.row(t)); });
    else
      round_static(scale, inverse);
    multiply(input_.view(), weight_.view(), got_);
    double sum = 0.0;
    for (std::int64_t t = 0; t < x_.rows; ++t)
      for (std::int64_t c = 0; c < w_.rows; ++c) {
        const double d = double{got_.row(t)[c]} - wanted_.row(t)[c];
        sum += d * d;
      }
    return sum;
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

  // With the range that the layer's observer will choose.
  void round_static(std::span<const float> scale, std::span<const float> inverse) {
    std::vector<double> energy(scale.size());
    for (std::int64_t r = 0; r < w_.rows; ++r)
      for (std::size_t c = 0; c < scale.size(); ++c) {
        const double value = double{w_.row(r)[c]} * scale[c];
        energy[c] += value * value;
      }
    for_rows(x_.rows, [&](std::int64_t t) {
      for (std::size_t c = 0; c < inverse.size(); ++c) input_.row(t)[c] = x_.row(t)[c] * inverse[c];
    });
    InputObserver observer(std::move(energy));
    observer.observe(input_.view(), std::vector<std::uint8_t>(static_cast<std::size_t>(x_.rows), 1));
    const StaticInput input = observer.best_input(target_.dtype);
    for_rows(x_.rows, [&](std::int64_t t) {
      for (float& value : input_.view().row_span(t)) {
        const float code = std::clamp(std::nearbyint(value / input.scale + input.offset), -128.0F, 127.0F);
        value = (code - input.offset) * input.scale;
      }
    });
  }

  OpContext& ctx_;
  ConstMat<float> x_, w_;
  const SmoothingTarget& target_;
  Matrix<float> wanted_, got_;    // [tokens, rows]
  Matrix<float> input_, weight_;  // quantised
};

}  // namespace

Smoothing choose_smoothing(OpContext& ctx, ConstMat<float> x, ConstMat<float> w,
                           const SmoothingTarget& target) {
  LATENT8_CHECK_EQ(x.cols, w.cols);
  Smoothing best;
  if (x.rows == 0) return best;
  const std::vector<double> a = log_sizes(x), b = log_sizes(w);
  Trial trial(ctx, x, w, target);
  const double none = trial.error(std::vector<float>(a.size(), 1.0F));
  double least = none;
  for (const double alpha : kExponents)
    for (const double beta : kExponents) {
      std::vector<float> scale(a.size());
      for (std::size_t c = 0; c < a.size(); ++c)
        scale[c] = static_cast<float>(std::exp2(alpha * a[c] - beta * b[c]));
      scale = to_powers_of_two(std::move(scale));
      if (std::all_of(scale.begin(), scale.end(), [](float s) { return s == 1.0F; })) continue;
      const double error = trial.error(scale);
      if (error >= kGain * least) continue;
      least = error;
      best = {std::move(scale), alpha, beta, error / none};
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
