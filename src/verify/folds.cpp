// Finding what was folded into the weights of a layer.

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rng.h"
#include "source/latent_rotation.h"
#include "verify/rows.h"
#include "verify/source_comparison.h"

namespace latent8 {
namespace {

// A factor nearer to 1 than this is a rounding of the stored type.
constexpr float kFactorTolerance = 0x1p-7F;
// kv_b_proj is stored in float: what is left after the factors are out is rounding, or a rotation.
constexpr double kSameLatent = 0.05;
// kv_a_proj is int8: of a product of the right rotation this much is left at most.
constexpr double kSameProduct = 0.1;
constexpr int kProbes = 16;

bool is_zero(float value) { return value == 0.0F; }
bool is_one(float factor) { return std::fabs(factor - 1.0F) <= kFactorTolerance; }

template <class Checkpoint>  // the stored one or the source; empty without the vector
std::vector<float> read_vector(const Checkpoint& checkpoint, const ExpectedModule& module) {
  auto rows = StoredRows::open(checkpoint, module);
  if (!rows) return {};
  std::vector<float> values(static_cast<std::size_t>(rows->cols()));
  rows->read_row(0, values.data());
  return values;
}

const ExpectedModule* find_role(const std::vector<ExpectedModule>& modules, TensorRole role) {
  const auto it =
      std::find_if(modules.begin(), modules.end(), [&](const ExpectedModule& m) { return m.role == role; });
  return it == modules.end() ? nullptr : &*it;
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}

ExpectedModule norm_before(const ExpectedModule& linear) {
  ExpectedModule out;
  out.form = TensorForm::kNorm;
  out.name = linear.norm;
  out.rows = linear.cols;
  return out;
}

// Sums of all rows with random signs: [probes, columns].
using Probes = std::vector<std::vector<double>>;

// Of b * diag(norm), rows divided by their factors (none: 1).
Probes probe_rows(StoredRows& b, const std::vector<float>& norm, const std::vector<float>& factors) {
  Probes out(kProbes, std::vector<double>(norm.size()));
  std::vector<float> row(norm.size());
  Rng signs(1);
  for (std::int64_t r = 0; r < b.rows(); ++r) {
    b.read_row(r, row.data());
    const double factor = factors.empty() ? 1.0 : 1.0 / factors[static_cast<std::size_t>(r)];
    std::uint64_t bits = signs.next_u64();
    for (int p = 0; p < kProbes; ++p, bits >>= 1) {
      const double sign = (bits & 1) != 0 ? factor : -factor;
      for (std::size_t c = 0; c < row.size(); ++c) out[p][c] += sign * row[c] * norm[c];
    }
  }
  return out;
}

// probes * the first rows of a, as many as there are columns of probes.
Probes probe_columns(StoredRows& a, const Probes& probes) {
  Probes out(kProbes, std::vector<double>(static_cast<std::size_t>(a.cols())));
  std::vector<float> row(static_cast<std::size_t>(a.cols()));
  for (std::size_t i = 0; i < probes[0].size(); ++i) {
    a.read_row(static_cast<std::int64_t>(i), row.data());
    for (int p = 0; p < kProbes; ++p)
      for (std::size_t c = 0; c < row.size(); ++c) out[p][c] += probes[p][i] * row[c];
  }
  return out;
}

// An empty b is all ones.
void multiply(std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < b.size(); ++i) a[i] *= b[i];
}

// Channels that are always 0 may hold anything.
void clear_dead(std::vector<float>& a, const std::vector<float>& columns) {
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (std::isnan(columns[i])) a[i] = 0.0F;
}

// How well rows of the source explain the stored ones.
struct RowFit {
  std::vector<float> factors;  // stored row = factor * row of the source, by least squares
  double left = 0.0, size = 0.0;
  bool good() const { return left <= kSameLatent * kSameLatent * size; }
};

//   columns [cols] NaN where anything may stand, or empty
template <class ToBasis>  // changes a row of the source
RowFit fit_rows(StoredRows& stored, StoredRows& original, const std::vector<float>& columns,
                const ToBasis& to_basis) {
  RowFit out;
  std::vector<float> a(static_cast<std::size_t>(stored.cols())), b(a.size());
  for (std::int64_t r = 0; r < stored.rows(); ++r) {
    original.read_row(r, a.data());
    stored.read_row(r, b.data());
    to_basis(a);
    clear_dead(a, columns);
    clear_dead(b, columns);
    const double aa = dot(a, a), ab = dot(a, b), bb = dot(b, b), factor = aa > 0.0 ? ab / aa : 1.0;
    out.factors.push_back(static_cast<float>(factor));
    out.left += std::max(0.0, bb - factor * ab);
    out.size += bb;
  }
  return out;
}

// Quotients of the lengths of rows * diag(norm).
std::vector<float> lengths(StoredRows& stored, const std::vector<float>& stored_norm, StoredRows& original,
                           const std::vector<float>& source_norm) {
  std::vector<float> out, a(stored_norm.size()), b(a.size());
  for (std::int64_t r = 0; r < stored.rows(); ++r) {
    original.read_row(r, a.data());
    stored.read_row(r, b.data());
    multiply(a, source_norm);
    multiply(b, stored_norm);
    const double length = dot(a, a);
    out.push_back(length > 0.0 ? static_cast<float>(std::sqrt(dot(b, b) / length)) : 1.0F);
  }
  return out;
}

}  // namespace

void LayerFolds::to_stored_basis(std::span<float> row) const {
  for (std::size_t c = 0; c < row.size(); ++c) row[c] *= source_norm[c];
  LatentRotation(row.size()).turn(row);
  for (std::size_t c = 0; c < row.size(); ++c) row[c] /= stored_norm[c];
}

LayerFolds SourceComparison::folds(std::int64_t layer, const std::vector<ExpectedModule>& modules,
                                   Findings& findings) const {
  LayerFolds out;
  if (hidden_rotated_) return out;
  for (const ExpectedModule& module : modules)
    if (module.form == TensorForm::kNorm) norm_factors(module, out, findings);
  const ExpectedModule *kv_b = find_role(modules, TensorRole::kKvBProj),
                       *kv_a = find_role(modules, TensorRole::kKvAProj);
  if (kv_b == nullptr || kv_a == nullptr) return out;
  latent_factors(*kv_b, *kv_a, out, findings);
  check_record(layer, out, findings);
  return out;
}

void SourceComparison::norm_factors(const ExpectedModule& module, LayerFolds& folds,
                                    Findings& findings) const {
  const std::vector<float> stored = read_vector(folder_, module), original = read_vector(source_, module);
  if (stored.empty() || original.empty()) return;
  std::vector<float> factor(stored.size());
  bool folded = false;
  for (std::size_t c = 0; c < factor.size(); ++c) {
    if (original[c] != 0.0F && stored[c] == 0.0F) {
      findings.problem(module.weight(), fmt::format("a value at {}, as the source has {}", c, original[c]),
                       "0");
      return;
    }
    factor[c] = original[c] == 0.0F ? std::numeric_limits<float>::quiet_NaN() : original[c] / stored[c];
    folded |= original[c] != 0.0F && !is_one(factor[c]);
  }
  if (folded) folds.columns.emplace(module.name, std::move(factor));
}

// Factors of the rows of kv_b_proj (from smoothing of o_proj), by least squares against the source, in its
// own basis or in the rotated one. If no factors explain the rows, their lengths, which every rotation keeps.
void SourceComparison::latent_factors(const ExpectedModule& kv_b, const ExpectedModule& kv_a,
                                      LayerFolds& folds, Findings& findings) const {
  auto stored = StoredRows::open(folder_, kv_b), original = StoredRows::open(source_, kv_b);
  folds.stored_norm = read_vector(folder_, norm_before(kv_b));
  folds.source_norm = read_vector(source_, norm_before(kv_b));
  if (!stored || !original || folds.stored_norm.empty() || folds.source_norm.empty()) return;
  const auto fold = folds.columns.find(kv_b.norm);
  const std::vector<float> columns = fold == folds.columns.end() ? std::vector<float>{} : fold->second;
  RowFit fit =
      fit_rows(*stored, *original, columns, [&](std::vector<float>& row) { multiply(row, columns); });
  if (!fit.good() && std::none_of(folds.stored_norm.begin(), folds.stored_norm.end(), is_zero)) {
    folds.rotation = LayerFolds::Rotation::kOurs;
    fit = fit_rows(*stored, *original, {}, [&](std::vector<float>& row) { folds.to_stored_basis(row); });
  }
  if (!fit.good()) {
    folds.rotation = LayerFolds::Rotation::kOther;
    fit.factors = lengths(*stored, folds.stored_norm, *original, folds.source_norm);
  }
  if (!std::all_of(fit.factors.begin(), fit.factors.end(), is_one)) folds.kv_b_rows = std::move(fit.factors);
  if (folds.rotation != LayerFolds::Rotation::kOther) return;
  folds.product_error = product_error(kv_b, kv_a, folds);
  if (!(folds.product_error <= kSameProduct))
    findings.problem(kv_b.weight(), "the source's weights, maybe scaled or rotated together with kv_a_proj,",
                     fmt::format("{:.1f} % off, and {:.1f} % after kv_a_proj",
                                 100.0 * std::sqrt(fit.left / fit.size), 100.0 * folds.product_error));
}

// A rotation of the latent cancels in W = kv_b_proj * diag(norm) * kv_a_proj, whose sums are compared.
double SourceComparison::product_error(const ExpectedModule& kv_b, const ExpectedModule& kv_a,
                                       const LayerFolds& folds) const {
  auto b_stored = StoredRows::open(folder_, kv_b), a_stored = StoredRows::open(folder_, kv_a);
  auto b_source = StoredRows::open(source_, kv_b), a_source = StoredRows::open(source_, kv_a);
  if (!b_stored || !a_stored || !b_source || !a_source) return 0.0;
  const auto input = folds.columns.find(kv_a.norm);
  const std::vector<float> columns = input == folds.columns.end() ? std::vector<float>{} : input->second;

  const Probes stored = probe_columns(*a_stored, probe_rows(*b_stored, folds.stored_norm, folds.kv_b_rows));
  const Probes source = probe_columns(*a_source, probe_rows(*b_source, folds.source_norm, {}));
  double difference = 0.0, size = 0.0;
  for (int p = 0; p < kProbes; ++p)
    for (std::size_t c = 0; c < source[p].size(); ++c) {
      const double factor = columns.empty() ? 1.0 : double{columns[c]};
      if (std::isnan(factor)) continue;
      const double want = factor * source[p][c], d = stored[p][c] - want;
      difference += d * d;
      size += want * want;
    }
  return size > 0.0 ? std::sqrt(difference / size) : 0.0;
}

// What config.json records against what the weights show. An identity is no contradiction of any record.
void SourceComparison::check_record(std::int64_t layer, const LayerFolds& folds, Findings& findings) const {
  if (!folder_.marks().records_folds) return;
  const auto it = folder_.marks().folds.find(layer);
  const std::string recorded = it == folder_.marks().folds.end() ? "" : it->second;
  const bool rotation = recorded.find("rotation") != std::string::npos || recorded == "both";
  const bool rotated = folds.rotation != LayerFolds::Rotation::kNone;
  if (rotated && !rotation)
    findings.problem("config.json", fmt::format("a record of the rotated latent of layer {}", layer),
                     recorded.empty() ? "none" : fmt::format("'{}'", recorded));
  if (!rotated && rotation)
    findings.note("config.json",
                  fmt::format("records '{}' for layer {}, whose weights show no rotation", recorded, layer));
}

}  // namespace latent8
