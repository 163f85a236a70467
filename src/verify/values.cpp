#include "verify/values.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/fp8_block.h"
#include "source/source_tensor.h"
#include "verify/int8.h"

namespace latent8 {
namespace {

using Form = TensorForm;

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string types_text(const std::vector<DType>& types) {
  std::string text;
  for (const DType type : types) text += (text.empty() ? "" : " or ") + std::string(to_string(type));
  return text;
}

std::string and_more(std::int64_t more) { return more > 0 ? fmt::format(" (and {} more)", more) : ""; }

// Calls visit(index, value) for every element, without a copy of the tensor.
template <class Visit>
void for_each_value(const TensorView& view, const Visit& visit) {
  constexpr std::int64_t kPiece = 1024;
  float piece[kPiece];
  for (std::int64_t at = 0; at < view.elements(); at += kPiece) {
    const std::int64_t count = std::min(kPiece, view.elements() - at);
    widen(view.bytes.data() + at * size_of(view.dtype), view.dtype, count, piece);
    for (std::int64_t i = 0; i < count; ++i) visit(at + i, piece[i]);
  }
}

}  // namespace

std::vector<std::string> names_of(const ExpectedModule& module) {
  const std::string& name = module.name;
  if (module.form == Form::kVector) return {name};
  std::vector<std::string> names = {name + ".weight", name + ".bias"};
  if (module.form == Form::kNorm) {
    for (const char* suffix : {".module.weight", ".module.bias"}) names.push_back(name + suffix);
    return names;
  }
  names.push_back(module.weight() + kBlockScaleSuffix);
  if (module.form == Form::kLinear)
    for (const char* suffix : kInt8Suffixes) names.push_back(name + suffix);
  return names;
}

std::vector<std::string> fa_names(std::int64_t layer) {
  std::vector<std::string> names;
  for (const char* part : {"scale", "offset"})
    for (const char* which : {"q", "k", "v"})
      names.push_back(fmt::format("{}.fa_{}.{}", attention_name(layer), which, part));
  return names;
}

const TensorView* ModuleChecker::need(const std::string& name, const Want& want) {
  const TensorView* view = folder_.find(name);
  const auto listed = folder_.type_of(name);
  if (view == nullptr) {
    if (!folder_.lost_with_file(name))
      findings.problem(name, listed ? "a tensor, as the description lists it," : "a tensor", "none");
    return nullptr;
  }
  bytes += static_cast<std::int64_t>(view->bytes.size());
  if (!listed)
    findings.problem(name, fmt::format("'{}' in {}", to_string(want.type), folder_.description()->file_name),
                     "no entry");
  else if (*listed != want.type)
    findings.problem(name, fmt::format("'{}' in {}", to_string(want.type), folder_.description()->file_name),
                     fmt::format("'{}'", to_string(*listed)));
  if (std::find(want.dtypes.begin(), want.dtypes.end(), view->dtype) == want.dtypes.end()) {
    findings.problem(name, types_text(want.dtypes), std::string(to_string(view->dtype)));
    return nullptr;
  }
  if (!want.shape.empty() && view->shape != want.shape) {
    findings.problem(name, "shape " + shape_text(want.shape), view->shape_text());
    return nullptr;
  }
  return view;
}

const TensorView* ModuleChecker::maybe(const std::string& name, const Want& want) {
  if (folder_.find(name) == nullptr && !folder_.type_of(name)) return nullptr;
  return need(name, want);
}

std::vector<DType> ModuleChecker::scale_types() const {
  const DType type = folder_.config()->torch_dtype;
  return type == DType::kF32 ? std::vector{DType::kF32} : std::vector{type, DType::kF32};
}

void ModuleChecker::check_finite(const std::string& name, const TensorView& view) {
  std::int64_t bad = 0, first = 0;
  float value = 0.0F;
  for_each_value(view, [&](std::int64_t i, float x) {
    if (std::isfinite(x)) return;
    if (bad++ == 0) first = i, value = x;
  });
  if (bad > 0)
    findings.problem(name, "finite values", fmt::format("{} at {}{}", value, first, and_more(bad - 1)));
}

std::vector<float> ModuleChecker::finite(const std::string& name, const TensorView* view) {
  if (view == nullptr) return {};
  check_finite(name, *view);
  std::vector<float> values(static_cast<std::size_t>(view->elements()));
  widen(view->bytes.data(), view->dtype, view->elements(), values.data());
  return values;
}

std::vector<float> ModuleChecker::scales(const std::string& name, const TensorView* view) {
  if (view == nullptr) return {};
  std::vector<float> values(static_cast<std::size_t>(view->elements()));
  widen(view->bytes.data(), view->dtype, view->elements(), values.data());
  const auto good = [](float x) { return x >= kLeastScale && x <= kLargestScale; };
  const auto bad = std::find_if_not(values.begin(), values.end(), good);
  if (bad != values.end())
    findings.problem(
        name, fmt::format("scales above 0 and below {:g}", kLargestScale),
        fmt::format("{} at {}{}", *bad, bad - values.begin(),
                    and_more(std::count_if(bad + 1, values.end(), [&](float x) { return !good(x); }))));
  return values;
}

void ModuleChecker::check_zeros(const std::string& name, const TensorView* view) {
  if (view == nullptr) return;
  std::int64_t bad = 0, first = 0;
  float value = 0.0F;
  for_each_value(*view, [&](std::int64_t i, float x) {
    if (x == 0.0F) return;
    if (bad++ == 0) first = i, value = x;
  });
  if (bad > 0) findings.problem(name, "zeros", fmt::format("{} at {}{}", value, first, and_more(bad - 1)));
}

void ModuleChecker::check(const ExpectedModule& module) {
  const bool absent = folder_.find(module.weight()) == nullptr && !folder_.type_of(module.weight());
  if (module.optional && absent) return;
  const auto type = folder_.type_of(module.weight());
  const bool int8 = type == QuantType::kW8A8 || type == QuantType::kW8A8Dynamic;
  if (int8 && module.form == Form::kLinear)
    check_int8(module, *type);
  else
    check_stored(module);
}

void ModuleChecker::check_stored(const ExpectedModule& module) {
  const bool matrix = module.form == Form::kLinear || module.form == Form::kMatrix;
  std::vector<DType> types = {DType::kF32, DType::kF16, DType::kBf16};
  if (matrix) types.push_back(DType::kF8E4M3);
  std::vector<std::int64_t> shape = {module.rows};
  if (matrix) shape.push_back(module.cols);
  if (const TensorView* weight = need(module.weight(), {QuantType::kFloat, types, shape})) {
    check_finite(module.weight(), *weight);
    if (weight->dtype == DType::kF8E4M3) check_fp8(module.weight(), *weight);
  }
  if (module.form == Form::kVector) return;
  types = {DType::kF32, DType::kF16, DType::kBf16};
  if (const TensorView* bias = maybe(module.name + ".bias", {QuantType::kFloat, types, {module.rows}}))
    check_finite(module.name + ".bias", *bias);
  if (module.form == Form::kNorm) check_doubles(module);
  if (module.form == Form::kLinear)
    check_absent(module, {std::begin(kInt8Suffixes), std::end(kInt8Suffixes)});
}

void ModuleChecker::check_fp8(const std::string& name, const TensorView& view) {
  const auto blocks = [](std::int64_t n) { return (n + kFp8Block - 1) / kFp8Block; };
  const std::string scale = name + kBlockScaleSuffix;
  const TensorView* stored = folder_.find(scale);
  const std::vector<std::int64_t> shape = stored != nullptr && stored->elements() == 1  // of the whole tensor
                                              ? stored->shape
                                              : std::vector{blocks(view.shape[0]), blocks(view.shape[1])};
  scales(scale, need(scale, {QuantType::kFloat, {DType::kF32, DType::kBf16, DType::kF8E8M0}, shape}));
}

// The mindie dialect stores every norm once more, unlisted. Source: docs/format.md, "Norms".
void ModuleChecker::check_doubles(const ExpectedModule& module) {
  for (const char* part : {"weight", "bias"}) {
    const std::string name = fmt::format("{}.module.{}", module.name, part);
    const TensorView *twin = folder_.find(name),
                     *norm = folder_.find(fmt::format("{}.{}", module.name, part));
    if (twin == nullptr || norm == nullptr) continue;
    bytes += static_cast<std::int64_t>(twin->bytes.size());
    if (twin->dtype != norm->dtype || !std::ranges::equal(twin->bytes, norm->bytes))
      findings.problem(name, fmt::format("the bytes of {}.{}", module.name, part), "others");
  }
}

void ModuleChecker::check_absent(const ExpectedModule& module, const std::vector<const char*>& suffixes) {
  const auto type = folder_.type_of(module.weight());
  for (const char* suffix : suffixes)
    if (folder_.find(module.name + suffix) != nullptr || folder_.type_of(module.name + suffix))
      findings.problem(
          module.name + suffix,
          fmt::format("no such tensor of a linear of type '{}'", type ? to_string(*type) : "FLOAT"), "one");
}

void ModuleChecker::check_fa(std::int64_t layer) {
  if (!folder_.description()->lists_fa_tensors(layer)) return;
  const std::int64_t heads = folder_.config()->num_attention_heads;
  bool all_one = true, any = false;
  for (const std::string& name : fa_names(layer)) {
    const bool query = name.find(".fa_q.") != std::string::npos,
               value = name.find(".fa_v.") != std::string::npos;
    const bool scale = name.ends_with(".scale");
    const TensorView* view =
        need(name, {QuantType::kFAQuant, scale ? scale_types() : std::vector{DType::kI8, DType::kI32}, {}});
    if (view == nullptr) continue;
    const std::vector<std::int64_t> shape = {query ? heads : 1, 1};
    if (view->shape != shape) {
      findings.problem(name, "shape " + shape_text(shape), view->shape_text());
      continue;
    }
    if (!scale) {
      check_zeros(name, view);
      continue;
    }
    const std::vector<float> values = scales(name, view);
    any |= !value;
    if (!value) all_one &= std::all_of(values.begin(), values.end(), [](float x) { return x == 1.0F; });
  }
  if (any && all_one)
    findings.problem(attention_name(layer) + ".fa_k.scale", "calibrated scales",
                     "1 here and in every row of fa_q.scale");
}

}  // namespace latent8
