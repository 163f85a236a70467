#include "quant/compat/exponent_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/linear.h"
#include "quant/compat/attention_forward.h"
#include "quant/compat/fake_quant.h"
#include "quant/compat/smoothing.h"
#include "quant/weights/rounding.h"

namespace latent8::compat {
namespace {

constexpr int kSteps = 20;  // of 0.05

Matrix<float> copy_of(const Matrix<float>& from) {
  Matrix<float> out(from.rows(), from.cols());
  std::copy_n(from.row(0), from.rows() * from.cols(), out.row(0));
  return out;
}

Matrix<float> stacked(const std::vector<LinearTensors*>& linears) {
  std::int64_t rows = 0, row = 0;
  for (const LinearTensors* linear : linears) rows += linear->weight.rows();
  Matrix<float> out(rows, linears.front()->weight.cols());
  for (const LinearTensors* linear : linears) {
    std::copy_n(linear->weight.row(0), linear->weight.rows() * out.cols(), out.row(row));
    row += linear->weight.rows();
  }
  return out;
}

// The square root of the mean of squares, every step rounded. Rounds and squares `x` in place.
float rounded_rms(DType type, Matrix<float>& x) {
  double sum = 0.0;
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    const std::span<float> row = x.view().row_span(r);
    round_in_place(type, row);
    for (float& value : row) value *= value;
    round_in_place(type, row);
    for (const float value : row) sum += value;
  }
  const double mean = sum / static_cast<double>(x.rows() * x.cols());
  return round_to(type, std::sqrt(round_to(type, static_cast<float>(mean))));
}

// Asymmetric codes of the whole tensor's range. They are not clamped, and the range is not widened to hold 0.
void fake_quantize_input(DType type, Mat<float> x) {
  const Range range = round_and_observe(type, x);
  const float scale =
      std::max(round_to(type, round_to(type, range.high - range.low) / 255.0F), kSmallestScale);
  const float offset = std::nearbyint(round_to(type, -range.low / scale)) - 128.0F;
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const std::span<float> row = x.row_span(r);
    for (float& value : row) value /= scale;
    round_in_place(type, row);
    for (float& value : row) value += offset;
    round_in_place(type, row);
    for (float& value : row) value = (std::nearbyint(value) - offset) * scale;
    round_in_place(type, row);
  }
}

// Symmetric codes in [-127, 127] per row.
void fake_quantize_rows(DType type, Mat<float> weight) {
  for (std::int64_t r = 0; r < weight.rows; ++r) {
    const std::span<float> row = weight.row_span(r);
    const float scale = round_to(type, range_of(row).amax() / 127.0F);
    for (float& value : row) value /= scale;
    round_in_place(type, row);
    for (float& value : row) value = std::clamp(std::nearbyint(value), -127.0F, 127.0F) * scale;
    round_in_place(type, row);
  }
}

class Search {
 public:
  Search(OpContext& ctx, DType type, const Matrix<float>& input, const GroupStatistics& statistics,
         const std::vector<LinearTensors*>& linears)
      : ctx_(ctx),
        type_(type),
        input_(input),
        statistics_(statistics),
        weight_amax_(column_amax(linears)),
        weight_(stacked(linears)),
        golden_(output(input, weight_)) {
    Matrix<float> golden = copy_of(golden_);
    golden_rms_ = rounded_rms(type_, golden);
  }

  Exponents run() {
    Exponents best = least([](float step) { return Exponents{step, 1.0F - step}; });
    return least([alpha = best.alpha](float step) { return Exponents{alpha, step}; });
  }

 private:
  Matrix<float> output(const Matrix<float>& x, const Matrix<float>& weight) {
    Matrix<float> out(x.rows(), weight.rows());
    linear(ctx_, view_of(weight), x.view(), out.view());
    for (std::int64_t r = 0; r < out.rows(); ++r) round_in_place(type_, out.view().row_span(r));
    return out;
  }

  template <class Candidate>
  Exponents least(const Candidate& candidate) {
    Exponents best = candidate(0.0F);
    float least_error = std::numeric_limits<float>::infinity();
    for (int i = 0; i <= kSteps; ++i) {
      const Exponents exponents = candidate(static_cast<float>(i) / kSteps);
      const float error = error_of(exponents);
      if (!(error <= least_error)) continue;
      least_error = error;
      best = exponents;
    }
    return best;
  }

  // The candidate's scale. Unlike the scale that is applied afterwards it is a product with a negative power.
  std::vector<float> scale_of(Exponents exponents) const {
    const float alpha = round_to(type_, exponents.alpha), beta = round_to(type_, -exponents.beta);
    std::vector<float> scale;
    for (std::size_t c = 0; c < weight_amax_.size(); ++c) {
      const float input = round_to(type_, std::pow(statistics_.channels[c].amax(), alpha));
      const float weight = round_to(type_, std::pow(weight_amax_[c], beta));
      scale.push_back(round_to(type_, input * weight));
    }
    return scale;
  }

  float error_of(Exponents exponents) {
    const std::vector<float> scale = scale_of(exponents);
    Matrix<float> x = copy_of(input_), weight = copy_of(weight_);
    for (std::int64_t r = 0; r < x.rows(); ++r)
      for (std::size_t c = 0; c < scale.size(); ++c) x.row(r)[c] /= scale[c];
    for (std::int64_t r = 0; r < weight.rows(); ++r) {
      for (std::size_t c = 0; c < scale.size(); ++c) weight.row(r)[c] *= scale[c];
      round_in_place(type_, weight.view().row_span(r));
    }
    fake_quantize_input(type_, x.view());
    fake_quantize_rows(type_, weight.view());
    Matrix<float> out = output(x, weight);
    for (std::int64_t r = 0; r < out.rows(); ++r)
      for (std::int64_t c = 0; c < out.cols(); ++c) out.row(r)[c] -= golden_.row(r)[c];
    return round_to(type_, rounded_rms(type_, out) / golden_rms_);
  }

  OpContext& ctx_;
  DType type_;
  const Matrix<float>& input_;
  const GroupStatistics& statistics_;
  std::vector<float> weight_amax_;
  Matrix<float> weight_, golden_;
  float golden_rms_ = 0.0F;
};

}  // namespace

Exponents search_exponents(OpContext& ctx, DType type, const Matrix<float>& input,
                           const GroupStatistics& statistics, const std::vector<LinearTensors*>& linears) {
  return Search(ctx, type, input, statistics, linears).run();
}

}  // namespace latent8::compat
