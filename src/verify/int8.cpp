// Checks of the tensors of an int8 linear.

#include "verify/int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "verify/values.h"

namespace latent8 {
namespace {

// Rows whose largest code is below this use less than half of the range.
constexpr int kWeakCode = 64;
// deq_scale is rounded to the model's type: bfloat16, or fp16 with its coarse steps near 0.
constexpr double kScaleTolerance = 0x1p-7, kFp16Step = 0x1p-24;
// bias = W * shift and norm.bias = -shift / s are stored apart from each other, the first from float weights.
constexpr double kShiftTolerance = 0.1;

std::string rows_text(std::int64_t more) { return more > 0 ? fmt::format(" (and {} rows more)", more) : ""; }

// The first row that `bad` says is wrong, and how many there are.
struct BadRows {
  std::int64_t first = -1, count = 0;
};
template <class Bad>
BadRows find_rows(std::size_t rows, const Bad& bad) {
  BadRows out;
  for (std::size_t r = 0; r < rows; ++r)
    if (bad(r) && out.count++ == 0) out.first = static_cast<std::int64_t>(r);
  return out;
}

}  // namespace

void ModuleChecker::check_int8(const ExpectedModule& module, QuantType type) {
  const std::string name = module.name, weight_name = module.weight();
  const std::int64_t n = module.rows;
  const bool is_static = type == QuantType::kW8A8;
  const TensorView* weight = need(weight_name, {type, {DType::kI8}, {n, module.cols}});
  const TensorView* scale = nullptr;
  for (const char* suffix : {".weight_scale", ".weight_offset"}) {
    // The reference's newer tool leaves them out of static linears, where deq_scale has what is needed.
    const Want want{type, scale_types(), {n, 1}};
    const TensorView* view = is_static ? maybe(name + suffix, want) : need(name + suffix, want);
    if (suffix == std::string_view(".weight_scale"))
      scale = view;
    else
      check_zeros(name + suffix, view);
  }
  const std::vector<float> bias =
      finite(name + ".bias",
             maybe(name + ".bias", {QuantType::kFloat, {DType::kF32, DType::kF16, DType::kBf16}, {n}}));
  Rows rows;
  rows.scale = scales(name + ".weight_scale", scale);
  if (weight != nullptr) rows.sum = check_codes(weight_name, *weight);
  if (is_static)
    check_static(module, rows, bias);
  else
    check_absent(module, {".input_scale", ".input_offset", ".quant_bias", ".deq_scale"});
  if (weight != nullptr && !rows.scale.empty()) check_shift(module, *weight, rows, bias);
}

std::vector<std::int64_t> ModuleChecker::check_codes(const std::string& name, const TensorView& weight) {
  const std::int64_t n = weight.shape[0], k = weight.shape[1];
  std::vector<std::int64_t> sums(static_cast<std::size_t>(n));
  std::int64_t weak_rows = 0, below = 0, first_below = 0;
  for (std::int64_t r = 0; r < n; ++r) {
    const std::int8_t* row = codes_of(weight) + r * k;
    int low = 0, high = 0, sum = 0;
    for (std::int64_t c = 0; c < k; ++c) {
      low = std::min<int>(low, row[c]);
      high = std::max<int>(high, row[c]);
      sum += row[c];
    }
    sums[static_cast<std::size_t>(r)] = sum;
    if (low < -127 && below++ == 0) first_below = r;
    const int amax = std::max(-low, high);
    weak_rows += amax > 0 && amax < kWeakCode ? 1 : 0;
  }
  if (below > 0)
    findings.problem(name, "codes in [-127, 127]",
                     fmt::format("-128 in row {}{}", first_below, rows_text(below - 1)));
  if (weak_rows > 0) {
    weak.rows += weak_rows;
    if (weak.tensors++ == 0) weak.example = name;
  }
  return sums;
}

void ModuleChecker::check_static(const ExpectedModule& module, const Rows& rows,
                                 const std::vector<float>& bias) {
  std::vector<DType> offset_types = scale_types();
  offset_types.push_back(DType::kI8);
  const std::string scale_name = module.name + ".input_scale", offset_name = module.name + ".input_offset";
  const std::vector<float> scale =
      scales(scale_name, need(scale_name, {QuantType::kW8A8, scale_types(), {1}}));
  const std::vector<float> offset =
      finite(offset_name, need(offset_name, {QuantType::kW8A8, offset_types, {1}}));
  const bool whole = !offset.empty() && offset[0] >= -128.0F && offset[0] <= 127.0F &&
                     offset[0] == std::nearbyint(offset[0]);
  if (!offset.empty() && std::isfinite(offset[0]) && !whole)
    findings.problem(offset_name, "an integer in [-128, 127]", fmt::format("{}", offset[0]));
  const std::vector<float> deq =
      check_deq_scale(module, rows, scale.empty() ? std::numeric_limits<float>::quiet_NaN() : scale[0]);
  check_quant_bias(module, rows, whole ? offset[0] : std::numeric_limits<float>::quiet_NaN(), deq, bias);
}

// deq_scale [out] as float32; empty if it is not there. Source: docs/format.md, "Quantised linears".
std::vector<float> ModuleChecker::check_deq_scale(const ExpectedModule& module, const Rows& rows,
                                                  float input_scale) {
  const std::string name = module.name + ".deq_scale";
  std::vector<DType> types = {DType::kF32};
  if (folder_.config()->torch_dtype == DType::kF16) types.push_back(DType::kI64);
  const TensorView* view = need(name, {QuantType::kW8A8, types, {module.rows}});
  if (view == nullptr) return {};
  std::vector<float> deq(static_cast<std::size_t>(module.rows));
  for (std::size_t r = 0; r < deq.size(); ++r)  // of I64 the low half, which comes first
    std::memcpy(&deq[r], view->bytes.data() + r * static_cast<std::size_t>(size_of(view->dtype)),
                sizeof(float));
  // The product of two scales: it may be smaller than any scale.
  const BadRows wrong =
      find_rows(deq.size(), [&](std::size_t r) { return !(deq[r] > 0.0F && deq[r] < kLargestScale); });
  if (wrong.count > 0) {
    findings.problem(name, fmt::format("scales above 0 and below {:g}", kLargestScale),
                     fmt::format("{} at {}{}", deq[static_cast<std::size_t>(wrong.first)], wrong.first,
                                 rows_text(wrong.count - 1)));
    return {};
  }
  if (rows.scale.empty() || !std::isfinite(input_scale)) return deq;
  const double step = folder_.config()->torch_dtype == DType::kF16 ? kFp16Step : 0.0;
  const BadRows bad = find_rows(deq.size(), [&](std::size_t r) {
    const double want = double{input_scale} * rows.scale[r];
    return !(std::fabs(deq[r] - want) <= kScaleTolerance * want + step);
  });
  if (bad.count > 0) {
    const auto r = static_cast<std::size_t>(bad.first);
    findings.problem(name,
                     fmt::format("input_scale * weight_scale = {:.6g} at {}",
                                 double{input_scale} * rows.scale[r], bad.first),
                     fmt::format("{:.6g}{}", deq[r], rows_text(bad.count - 1)));
  }
  return deq;
}

// quant_bias = rint(bias / deq_scale - sum(codes) * input_offset). Source: docs/format.md, "Quantised
// linears".
void ModuleChecker::check_quant_bias(const ExpectedModule& module, const Rows& rows, float input_offset,
                                     const std::vector<float>& deq_scale, const std::vector<float>& bias) {
  const std::string name = module.name + ".quant_bias";
  const TensorView* view = need(name, {QuantType::kW8A8, {DType::kI32}, {module.rows}});
  const bool bias_lost = bias.empty() && folder_.type_of(module.name + ".bias").has_value();
  if (view == nullptr || rows.sum.empty() || deq_scale.empty() || bias_lost || !std::isfinite(input_offset))
    return;
  const auto stored = [&](std::size_t r) {
    std::int32_t value = 0;
    std::memcpy(&value, view->bytes.data() + r * sizeof(value), sizeof(value));
    return double{static_cast<double>(value)};
  };
  const auto folded = [&](std::size_t r) { return bias.empty() ? 0.0 : double{bias[r]} / deq_scale[r]; };
  const auto shifted = [&](std::size_t r) { return static_cast<double>(rows.sum[r]) * input_offset; };
  const BadRows bad = find_rows(rows.sum.size(), [&](std::size_t r) {
    // The reference adds in float32, and the bias that is stored is rounded to the model's type.
    const double room = 1.0 + 0x1p-22 * std::fabs(shifted(r)) + 0x1p-7 * std::fabs(folded(r));
    return !(std::fabs(stored(r) - std::nearbyint(folded(r) - shifted(r))) <= room);
  });
  if (bad.count == 0) return;
  const auto r = static_cast<std::size_t>(bad.first);
  findings.problem(name,
                   fmt::format("bias / deq_scale - sum(codes) * input_offset = {:.0f} at {}",
                               folded(r) - shifted(r), bad.first),
                   fmt::format("{:.0f}{}", stored(r), rows_text(bad.count - 1)));
}

// A shift of the norm's output (norm.bias) must come back in the bias of the linear: bias = -W * norm.bias.
void ModuleChecker::check_shift(const ExpectedModule& module, const TensorView& weight, const Rows& rows,
                                const std::vector<float>& bias) {
  const TensorView* shift_view = module.norm.empty() ? nullptr : folder_.find(module.norm + ".bias");
  if (shift_view == nullptr || shift_view->elements() != module.cols) return;
  std::vector<float> shift(static_cast<std::size_t>(module.cols));
  widen(shift_view->bytes.data(), shift_view->dtype, module.cols, shift.data());
  if (std::all_of(shift.begin(), shift.end(), [](float x) { return x == 0.0F; })) return;
  double difference = 0.0, size = 0.0;
  for (std::size_t r = 0; r < rows.scale.size(); ++r) {
    const std::int8_t* row = codes_of(weight) + static_cast<std::int64_t>(r) * module.cols;
    double sum = 0.0;
    for (std::size_t c = 0; c < shift.size(); ++c) sum += double{shift[c]} * row[c];
    const double want = -sum * rows.scale[r], got = bias.empty() ? 0.0 : double{bias[r]};
    difference += (got - want) * (got - want);
    size += want * want;
  }
  if (!(std::sqrt(difference) <= kShiftTolerance * std::sqrt(size)) && std::isfinite(size) && size > 0.0)
    findings.problem(
        module.name + ".bias", fmt::format("-weight * {}.bias", module.norm),
        bias.empty() ? "no bias" : fmt::format("{:.1f} % off", 100.0 * std::sqrt(difference / size)));
}

}  // namespace latent8
