#include "kernels/ref/linear_ref.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/dtype.h"

namespace latent8 {
namespace {

// Row `row` of b, `n` elements, as the kernels see it: fp8 times its block's scale, rounded to fp32.
std::vector<float> weight_row(const GemmF32Args& p, std::int64_t row, std::int64_t n) {
  const DType type = dtype_of(p.b_type);
  std::vector<float> out(static_cast<std::size_t>(n));
  widen(static_cast<const char*>(p.b) + row * p.b_stride * size_of(type), type, n, out.data());
  if (p.b_type == WeightType::kF8E4M3)
    for (std::int64_t i = 0; i < n; ++i)
      out[static_cast<std::size_t>(i)] *= p.b_scale[(p.b_row0 + row) / 128 * p.b_scale_stride + i / 128];
  return out;
}

RealMatrix zeros(std::int64_t m, std::int64_t n) {
  const auto size = static_cast<std::size_t>(m * n);
  return {std::vector<double>(size), std::vector<double>(size)};
}

void add_product(RealMatrix& out, std::int64_t at, float a, float b) {
  const double product = static_cast<double>(a) * static_cast<double>(b);
  out.value[static_cast<std::size_t>(at)] += product;
  out.magnitude[static_cast<std::size_t>(at)] += std::fabs(product);
}

std::int8_t code_of(float x) {
  if (std::isnan(x)) return 0;
  return static_cast<std::int8_t>(std::clamp(std::nearbyint(x), -128.0F, 127.0F));
}

std::int32_t sum_of(const std::int8_t* q, std::int64_t k) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < k; ++i) sum += q[i];
  return sum;
}

}  // namespace

RealMatrix gemm_f32_ref(const GemmF32Args& p) {
  RealMatrix out = zeros(p.m, p.n);
  for (std::int64_t j = 0; j < p.n; ++j) {
    const std::vector<float> w = weight_row(p, j, p.k);
    for (std::int64_t i = 0; i < p.m; ++i)
      for (std::int64_t d = 0; d < p.k; ++d)
        add_product(out, i * p.n + j, p.a[i * p.a_stride + d], w[static_cast<std::size_t>(d)]);
  }
  return out;
}

RealMatrix gemm_nn_f32_ref(const GemmNnF32Args& p) {
  RealMatrix out = zeros(p.m, p.n);
  for (std::int64_t d = 0; d < p.k; ++d) {
    const std::vector<float> w = weight_row(p, d, p.n);
    for (std::int64_t i = 0; i < p.m; ++i)
      for (std::int64_t j = 0; j < p.n; ++j)
        add_product(out, i * p.n + j, p.a[i * p.a_stride + d], w[static_cast<std::size_t>(j)]);
  }
  return out;
}

std::vector<float> gemm_s8_ref(const GemmS8RefArgs& p) {
  std::vector<float> out(static_cast<std::size_t>(p.m * p.n));
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.n; ++j) {
      std::int32_t sum = p.bias != nullptr ? p.bias[j] : 0;
      for (std::int64_t d = 0; d < p.k; ++d) sum += std::int32_t{p.a[i * p.k + d]} * p.b[j * p.k + d];
      const float scale = (p.a_scale != nullptr ? p.a_scale[i] : 1.0F) * p.b_scale[j];
      out[static_cast<std::size_t>(i * p.n + j)] = static_cast<float>(sum) * scale;
    }
  return out;
}

QuantizedRef quantize_dynamic_ref(const float* rows, std::int64_t m, std::int64_t k, std::int64_t x_stride) {
  QuantizedRef out;
  for (std::int64_t i = 0; i < m; ++i) {
    const float* x = rows + i * x_stride;
    float amax = 0.0F;
    for (std::int64_t d = 0; d < k; ++d) amax = std::fmax(amax, std::fabs(x[d]));
    const float scale = amax / 127.0F;
    for (std::int64_t d = 0; d < k; ++d)
      out.q.push_back(scale > 0.0F ? code_of(x[d] / scale) : std::int8_t{0});
    out.scale.push_back(scale);
    out.sum.push_back(sum_of(out.q.data() + i * k, k));
  }
  return out;
}

QuantizedRef quantize_static_ref(const float* x, std::int64_t m, std::int64_t k, std::int64_t x_stride,
                                 float scale, float offset) {
  QuantizedRef out;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t d = 0; d < k; ++d) out.q.push_back(code_of(x[i * x_stride + d] / scale + offset));
    out.sum.push_back(sum_of(out.q.data() + i * k, k));
  }
  return out;
}

std::vector<float> widen_weight_ref(const WeightRows& p) {
  std::vector<float> out(static_cast<std::size_t>(p.m * p.k));
  widen(p.w, dtype_of(p.type), p.m * p.k, out.data());
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.k; ++j) {
      float& x = out[static_cast<std::size_t>(i * p.k + j)];
      if (p.type == WeightType::kF8E4M3)
        x *= p.block_scale[(p.row0 + i) / 128 * p.block_scale_stride + j / 128];
      if (p.row_scale != nullptr) x *= p.row_scale[i];
      if (p.col_scale != nullptr) x *= p.col_scale[j];
    }
  return out;
}

std::vector<float> weight_amax_ref(const WeightRows& p) {
  const std::vector<float> weights = widen_weight_ref(p);
  std::vector<float> amax(static_cast<std::size_t>(p.m));
  for (std::size_t at = 0; at < weights.size(); ++at) {
    float& row = amax[at / static_cast<std::size_t>(p.k)];
    if (!std::isfinite(weights[at])) row = std::numeric_limits<float>::quiet_NaN();
    if (std::fabs(weights[at]) > row) row = std::fabs(weights[at]);
  }
  return amax;
}

QuantizedRef weight_codes_ref(const WeightRows& p, const float* scale) {
  const std::vector<float> weights = widen_weight_ref(p);
  QuantizedRef out;
  out.sum.resize(static_cast<std::size_t>(p.m));
  for (std::size_t at = 0; at < weights.size(); ++at) {
    const std::size_t row = at / static_cast<std::size_t>(p.k);
    const float code = std::clamp(std::nearbyint(weights[at] / scale[row]), -127.0F, 127.0F);
    out.q.push_back(static_cast<std::int8_t>(code));
    out.sum[row] += out.q.back();
  }
  return out;
}

std::vector<double> rms_norm_ref(const RmsNormArgs& p) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < p.m; ++i) {
    const float* x = p.x + i * p.x_stride;
    double squares = 0.0;
    for (std::int64_t j = 0; j < p.n; ++j) squares += static_cast<double>(x[j]) * x[j];
    const double root = std::sqrt(squares / static_cast<double>(p.n) + p.eps);
    for (std::int64_t j = 0; j < p.n; ++j)
      out.push_back(x[j] / root * p.weight[j] + (p.bias != nullptr ? p.bias[j] : 0.0F));
  }
  return out;
}

std::vector<double> rope_ref(const RopeArgs& p) {
  const std::int64_t half = p.dim / 2, partner = p.halves ? half : 1;
  std::vector<double> out(static_cast<std::size_t>(p.m * p.heads * p.dim));
  double* to = out.data();
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t h = 0; h < p.heads; ++h, to += p.dim)
      for (std::int64_t d = 0; d < half; ++d) {
        const std::int64_t first = p.halves ? d : 2 * d;
        const float* x = p.x + i * p.x_stride + h * p.head_stride + first;
        const double cos = p.cos[p.positions[i] * half + d], sin = p.sin[p.positions[i] * half + d];
        to[first] = x[0] * cos - x[partner] * sin;
        to[first + partner] = x[0] * sin + x[partner] * cos;
      }
  return out;
}

std::vector<double> silu_mul_ref(const SiluMulArgs& p) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.n; ++j) {
      const double gate = p.gate[i * p.gate_stride + j];
      out.push_back(gate / (1.0 + std::exp(-gate)) * p.up[i * p.up_stride + j]);
    }
  return out;
}

}  // namespace latent8
