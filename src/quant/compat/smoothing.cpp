#include "quant/compat/smoothing.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "quant/weights/rounding.h"

namespace latent8::compat {
namespace {

constexpr float kSmallest = 1e-5F;  // of m4's scale, and of a channel's largest weight

void multiply_columns(DType type, const std::vector<float>& scale, Matrix<float>& weight) {
  for (std::int64_t r = 0; r < weight.rows(); ++r) {
    const std::span<float> row = weight.view().row_span(r);
    for (std::size_t c = 0; c < row.size(); ++c) row[c] *= scale[c];
    round_in_place(type, row);
  }
}

void divide(DType type, const std::vector<float>& scale, std::vector<float>& values) {
  for (std::size_t c = 0; c < values.size(); ++c) values[c] /= scale[c];
  round_in_place(type, values);
}

// Column h * v_head_dim + i of o_proj reads row i of head h's V rows.
void divide_v_rows(const ModelConfig& config, DType type, const std::vector<float>& scale,
                   Matrix<float>& kv_b) {
  const std::int64_t head_rows = config.qk_nope_head_dim + config.v_head_dim;
  for (std::size_t j = 0; j < scale.size(); ++j) {
    const auto column = static_cast<std::int64_t>(j), head = column / config.v_head_dim;
    const std::int64_t row = head * head_rows + config.qk_nope_head_dim + column % config.v_head_dim;
    const std::span<float> values = kv_b.view().row_span(row);
    for (float& value : values) value /= scale[j];
    round_in_place(type, values);
  }
}

// r(W shift). The reference adds up in an order that its GEMM chooses; here the sum is exact to double.
std::vector<float> shifted_bias(DType type, const Matrix<float>& weight, const std::vector<float>& shift) {
  std::vector<float> bias;
  for (std::int64_t r = 0; r < weight.rows(); ++r) {
    double sum = 0.0;
    for (std::size_t c = 0; c < shift.size(); ++c) sum += double{weight.row(r)[c]} * double{shift[c]};
    bias.push_back(round_to(type, static_cast<float>(sum)));
  }
  return bias;
}

NormTensors& norm_of(Group group, AttentionTensors& attention) {
  LATENT8_CHECK(group != Group::kO);
  return group == Group::kHidden ? attention.input_layernorm : attention.q_a_layernorm;
}

// The shift of the input, taken off by the norm and put back by the linears' biases.
void apply_shift(DType type, Group group, const std::vector<float>& shift, const std::vector<float>& scale,
                 AttentionTensors& attention) {
  for (LinearTensors* linear : linears_of(group, attention))
    linear->bias = shifted_bias(type, linear->weight, shift);
  std::vector<float>& bias = norm_of(group, attention).bias;
  for (std::size_t c = 0; c < shift.size(); ++c) bias[c] = (0.0F - shift[c]) / scale[c];
}

}  // namespace

std::vector<LinearTensors*> linears_of(Group group, AttentionTensors& attention) {
  switch (group) {
    case Group::kHidden:
      return {&attention.q_a_proj, &attention.kv_a_proj_with_mqa};
    case Group::kCQ:
      return {&attention.q_b_proj};
    case Group::kO:
      break;
  }
  return {&attention.o_proj};
}

std::vector<float> column_amax(const std::vector<LinearTensors*>& linears) {
  std::vector<float> amax(static_cast<std::size_t>(linears.front()->weight.cols()));
  for (const LinearTensors* linear : linears)
    for (std::int64_t r = 0; r < linear->weight.rows(); ++r)
      for (std::size_t c = 0; c < amax.size(); ++c)
        amax[c] = std::max(amax[c], std::fabs(linear->weight.row(r)[c]));
  return amax;
}

std::vector<float> m4_scale(DType type, const GroupStatistics& statistics,
                            const std::vector<LinearTensors*>& linears) {
  const float smallest = round_to(type, kSmallest);
  const std::vector<float> weights = column_amax(linears);
  std::vector<float> scale;
  for (std::size_t c = 0; c < statistics.channels.size(); ++c) {
    const float input = statistics.channels[c].amax(), weight = std::max(weights[c], smallest);
    const float quotient = round_to(type, std::sqrt(input)) / round_to(type, std::sqrt(weight));
    scale.push_back(std::max(round_to(type, quotient), smallest));
  }
  return scale;
}

std::vector<float> m6_scale(DType type, const GroupStatistics& statistics,
                            const std::vector<LinearTensors*>& linears, Exponents exponents) {
  const float alpha = round_to(type, exponents.alpha), beta = round_to(type, exponents.beta);
  const float smallest = round_to(type, kSmallest);
  const std::vector<float> weights = column_amax(linears);
  std::vector<float> scale;
  for (std::size_t c = 0; c < statistics.channels.size(); ++c) {
    const float input = round_to(type, std::pow(statistics.channels[c].amax(), alpha));
    const float weight = round_to(type, std::pow(std::max(weights[c], smallest), beta));
    scale.push_back(std::max(round_to(type, input / weight), smallest));
  }
  return scale;
}

std::vector<float> m4_shift(DType type, const GroupStatistics& statistics) {
  std::vector<float> shift;
  for (const Range range : statistics.channels)
    shift.push_back(round_to(type, round_to(type, range.high + range.low) / 2.0F));
  return shift;
}

void apply_scale(const ModelConfig& config, DType type, Group group, const std::vector<float>& scale,
                 AttentionTensors& attention) {
  for (LinearTensors* linear : linears_of(group, attention)) {
    LATENT8_CHECK_EQ(linear->weight.cols(), static_cast<std::int64_t>(scale.size()));
    multiply_columns(type, scale, linear->weight);
  }
  if (group == Group::kO)
    divide_v_rows(config, type, scale, attention.kv_b_proj.weight);
  else
    divide(type, scale, norm_of(group, attention).weight);
}

void smooth(const ModelConfig& config, QuantizeOptions::Anti anti, DType type,
            const std::array<GroupStatistics, kGroups>& groups, AttentionTensors& attention) {
  if (anti == QuantizeOptions::Anti::kNone) return;
  const bool m4 = anti == QuantizeOptions::Anti::kM4;
  if (m4)
    for (NormTensors* norm :
         {&attention.input_layernorm, &attention.q_a_layernorm, &attention.kv_a_layernorm})
      norm->bias.assign(norm->weight.size(), 0.0F);
  for (const Group group : {Group::kHidden, Group::kCQ, Group::kO}) {
    const GroupStatistics& statistics = groups[static_cast<std::size_t>(group)];
    const std::vector<LinearTensors*> linears = linears_of(group, attention);
    const std::vector<float> scale =
        m4 ? m4_scale(type, statistics, linears) : m6_scale(type, statistics, linears, statistics.exponents);
    if (m4 && group != Group::kO) apply_shift(type, group, m4_shift(type, statistics), scale, attention);
    apply_scale(config, type, group, scale, attention);
  }
}

}  // namespace latent8::compat
