#include "verify/source_comparison.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "formats/json.h"
#include "formats/write_model_config.h"
#include "source/latent_rotation.h"
#include "verify/rows.h"

namespace latent8 {
namespace {

using Form = TensorForm;
using Role = TensorRole;
using Rotation = LayerFolds::Rotation;

// Rounding to the nearest code leaves 0.29 steps; rounding that lets errors cancel leaves more, above all in
// the columns that it rounds last. A wrong scale or row is off by tens of steps.
constexpr double kTensorSteps = 2.0, kRowSteps = 5.0, kColumnSteps = 8.0;
// Float tensors are rounded to their type, and once more by a fold.
constexpr double kFloatError = 0.04;     // of one row
constexpr double kSmallestError = 1e-7;  // absolute; fp16 has no finer steps near 0
constexpr double kRotatedRows = 0.01;
// Where all but so few elements of a float tensor are what the source's become in its type, those few are
// damage and not another way of rounding.
constexpr double kFewElements = 1e-3;
constexpr std::int64_t kFewOfCopied = 3;  // of a tensor that nothing was folded into

std::string percent(double error) { return fmt::format("{:.1f} %", 100.0 * error); }

}  // namespace

// What the source's rows and columns are multiplied by; empty: 1.
struct SourceComparison::Factors {
  std::vector<float> rows, columns;
};

SourceComparison::SourceComparison(const VerifyFolder& folder, const TensorSource& source)
    : folder_(folder), source_(source) {
  // An offline rotation of the hidden state keeps the lengths of the embedding's rows and nothing else.
  ExpectedModule embedding = expected_outside(*folder.config()).front();
  auto stored = StoredRows::open(folder, embedding);
  auto original = StoredRows::open(source, embedding);
  if (!stored || !original) return;
  std::vector<float> a(static_cast<std::size_t>(original->cols())), b(a.size());
  double lengths = 0.0, values = 0.0, size = 0.0;
  for (std::int64_t r = 0; r < std::min<std::int64_t>(original->rows(), 256); ++r) {
    original->read_row(r, a.data());
    stored->read_row(r, b.data());
    double aa = 0.0, bb = 0.0;
    for (std::size_t c = 0; c < a.size(); ++c) {
      aa += double{a[c]} * a[c];
      bb += double{b[c]} * b[c];
      values += (double{a[c]} - b[c]) * (double{a[c]} - b[c]);
    }
    lengths += (std::sqrt(aa) - std::sqrt(bb)) * (std::sqrt(aa) - std::sqrt(bb));
    size += aa;
  }
  hidden_rotated_ = values > 0.1 * size && lengths < kRotatedRows * kRotatedRows * size;
}

bool same_model(const ModelConfig& stored, const ModelConfig& source, Findings& findings) {
  // The format renames the type, layers may be left out, tokens are the user's, floats are rounded.
  constexpr std::array<std::string_view, 8> kMayDiffer{
      "model_type",   "architectures", "num_hidden_layers", "num_nextn_predict_layers",
      "bos_token_id", "eos_token_id",  "torch_dtype",       "dtype"};
  ModelConfig renamed = stored;  // so that both say the same things
  renamed.model_type = source.model_type;
  const auto a = write_model_config(renamed);
  const auto b = write_model_config(source.with_layers(stored.num_hidden_layers));
  const std::size_t before = findings.problems.size();
  const auto compare = [&](const std::string& key) {
    if (std::find(kMayDiffer.begin(), kMayDiffer.end(), key) != kMayDiffer.end()) return;
    const nlohmann::ordered_json x = a.value(key, nlohmann::ordered_json()),
                                 y = b.value(key, nlohmann::ordered_json());
    if (x != y)
      findings.problem("config.json", fmt::format("'{}': {}, as the source has,", key, shown_json(y)),
                       shown_json(x));
  };
  for (const auto& [key, value] : b.items()) compare(key);
  for (const auto& [key, value] : a.items())
    if (!b.contains(key)) compare(key);
  return findings.problems.size() == before;
}

SourceComparison::Factors SourceComparison::factors(const ExpectedModule& module,
                                                    const LayerFolds& folds) const {
  const ModelConfig& c = *folder_.config();
  Factors out;
  const auto columns = folds.columns.find(module.norm);
  // The rotated basis has the norm's factors in it.
  const bool in_basis = folds.rotation != Rotation::kNone && module.role == Role::kKvBProj;
  if (columns != folds.columns.end() && !in_basis) out.columns = columns->second;
  if (folds.kv_b_rows.empty()) return out;
  const auto kv_row = [&](std::int64_t head, std::int64_t i) {
    return folds.kv_b_rows[static_cast<std::size_t>(head * (c.qk_nope_head_dim + c.v_head_dim) + i)];
  };
  if (module.role == Role::kKvBProj) out.rows = folds.kv_b_rows;
  if (module.role == Role::kOProj)
    for (std::int64_t h = 0; h < c.num_attention_heads; ++h)
      for (std::int64_t i = 0; i < c.v_head_dim; ++i)
        out.columns.push_back(1.0F / kv_row(h, c.qk_nope_head_dim + i));
  if (module.role == Role::kQBProj || module.role == Role::kQProj)
    for (std::int64_t h = 0; h < c.num_attention_heads; ++h)
      for (std::int64_t i = 0; i < c.qk_head_dim(); ++i)
        out.rows.push_back(i < c.qk_nope_head_dim ? 1.0F / kv_row(h, i) : 1.0F);
  return out;
}

bool SourceComparison::is_stored_as_is(const ExpectedModule& module, const LayerFolds& folds) const {
  if (folds.columns.count(module.norm) != 0 || hidden_rotated_) return false;
  const TensorView *a = folder_.find(module.weight()), *b = source_.checkpoint().find(module.weight());
  return a != nullptr && b != nullptr && a->dtype == b->dtype && a->shape == b->shape && !b->bytes.empty() &&
         std::ranges::equal(a->bytes, b->bytes);
}

TensorError SourceComparison::compare(const ExpectedModule& module, const LayerFolds& folds,
                                      Findings& findings) const noexcept {
  try {
    const TensorView* stored = folder_.find(module.weight());
    if (stored == nullptr) return {};
    if (source_.checkpoint().find(module.weight()) == nullptr) {
      findings.note(module.weight(), "is not in the source");
      return {};
    }
    if (module.form == Form::kNorm && folds.columns.count(module.name) != 0)
      return {};  // it says what was folded
    if (is_stored_as_is(module, folds)) {
      TensorError same;
      same.how = TensorError::How::kElements;
      auto original = StoredRows::open(source_, module);
      std::vector<float> row(static_cast<std::size_t>(original->cols()));
      for (std::int64_t r = 0; r < original->rows(); ++r) {
        original->read_row(r, row.data());
        for (const float x : row) same.size += double{x} * x;
      }
      return same;
    }
    if (stored->dtype == DType::kF8E4M3) {
      findings.problem(module.weight(), "the bytes of the source", "others");
      return {};
    }
    return compare_rows(module, folds, findings);
  } catch (const Error& error) {
    findings.problem(module.weight(), "", error.what());
  }
  return {};
}

namespace {

// What comparing the rows of one tensor adds up to.
struct Sums {
  // type: of the stored elements.
  Sums(std::int64_t cols, DType type) : type(type), columns(static_cast<std::size_t>(cols)) {}

  // One row: the source's `a` times the factors is wanted, `b` is stored. int8 codes have a step, others 0.
  void add(const std::vector<float>& a, const std::vector<float>& b, double row_factor,
           const std::vector<float>& column_factors, double step) {
    double row_difference = 0.0, row_size = 0.0;
    wanted.assign(b.begin(), b.end());
    const double in_steps = step > 0.0 ? 1.0 / (step * step) : 0.0;
    for (std::size_t c = 0; c < a.size(); ++c) {
      const double factor = row_factor * (column_factors.empty() ? 1.0 : double{column_factors[c]});
      if (std::isnan(factor)) continue;
      const double want = factor * a[c], d = b[c] - want;
      wanted[c] = static_cast<float>(want);
      row_size += want * want;
      row_difference += d * d;
      columns[c] += d * d * in_steps;
      stored_size += double{b[c]} * b[c];
    }
    if (step == 0.0) count_changed(b);
    size += row_size;
    difference += row_difference;
    steps += row_difference * in_steps;
    const double mean = std::sqrt(row_difference / static_cast<double>(a.size()));
    const double relative =
        std::max(0.0, mean - kSmallestError) / std::sqrt(row_size / static_cast<double>(a.size()) + 1e-30);
    const double off = step > 0.0 ? mean / step : relative;
    if (!(off <= worst_row)) worst_row = off, worst_row_at = rows;
    ++rows;
  }
  // Of the row in `wanted`.
  void count_changed(const std::vector<float>& b) {
    const auto count = static_cast<std::int64_t>(b.size());
    stored.resize(b.size() * static_cast<std::size_t>(size_of(type)));
    narrow(wanted.data(), type, count, stored.data());
    widen(stored.data(), type, count, wanted.data());
    for (std::size_t c = 0; c < b.size(); ++c)
      if (wanted[c] != b[c] && changed++ == 0) first_changed = fmt::format("row {}, column {}", rows, c);
  }
  // rms of all, or of the worst column, in steps.
  double mean_steps() const { return std::sqrt(steps / static_cast<double>(rows * columns.size())); }
  double column_steps() const { return std::sqrt(columns[worst_column()] / static_cast<double>(rows)); }
  std::size_t worst_column() const {
    return static_cast<std::size_t>(std::max_element(columns.begin(), columns.end()) - columns.begin());
  }

  DType type;
  std::vector<double> columns;                                          // squares of the differences in steps
  double difference = 0.0, size = 0.0, stored_size = 0.0, steps = 0.0;  // sums of squares
  double worst_row = 0.0;                                               // int8: in steps; others: relative
  std::int64_t worst_row_at = 0, rows = 0;
  std::int64_t changed = 0;  // elements that are not the wanted ones, rounded to their type
  std::string first_changed;
  std::vector<float> wanted;      // of one row
  std::vector<std::byte> stored;  // the same in `type`
};

// What is wrong with the compared rows, "" if nothing is.
std::string complaint(const Sums& sums, bool int8, bool copied, std::int64_t first_row) {
  const auto row = [&] { return sums.worst_row_at + first_row; };
  if (sums.rows == 0) return "";
  if (!int8) {
    const auto elements = static_cast<double>(sums.rows * static_cast<std::int64_t>(sums.columns.size()));
    const double few = std::max(elements * kFewElements, copied ? double{kFewOfCopied} : 0.0);
    if (sums.changed > 0 && static_cast<double>(sums.changed) <= few && first_row == 0)
      return fmt::format("{} other element(s), the first in {}", sums.changed, sums.first_changed);
    if (sums.worst_row <= kFloatError) return "";
    return fmt::format("{} off in row {}", percent(sums.worst_row), row());
  }
  if (sums.mean_steps() <= kTensorSteps && sums.worst_row <= kRowSteps && sums.column_steps() <= kColumnSteps)
    return "";
  return fmt::format("{:.1f} steps off, {}; {:.1f} in row {}, {:.1f} in column {}", sums.mean_steps(),
                     percent(std::sqrt(sums.difference / sums.size)), sums.worst_row, row(),
                     sums.column_steps(), sums.worst_column());
}

}  // namespace

namespace {

// The source's rows of kv_a_proj that make the latent, rotated: [rank, hidden].
Matrix<float> rotated_latent_rows(StoredRows& kv_a, std::int64_t rank) {
  Matrix<float> out(rank, kv_a.cols());
  for (std::int64_t r = 0; r < rank; ++r) kv_a.read_row(r, out.row(r));
  std::vector<float> column(static_cast<std::size_t>(rank));
  for (std::int64_t c = 0; c < kv_a.cols(); ++c) {
    for (std::int64_t r = 0; r < rank; ++r) column[static_cast<std::size_t>(r)] = out.row(r)[c];
    LatentRotation(column.size()).turn(column);
    for (std::int64_t r = 0; r < rank; ++r) out.row(r)[c] = column[static_cast<std::size_t>(r)];
  }
  return out;
}

}  // namespace

TensorError SourceComparison::compare_rows(const ExpectedModule& module, const LayerFolds& folds,
                                           Findings& findings) const {
  auto stored = StoredRows::open(folder_, module), original = StoredRows::open(source_, module);
  if (!stored || !original) return {};
  const bool kv_a = module.role == Role::kKvAProj, kv_b = module.role == Role::kKvBProj;
  const bool ours = folds.rotation == Rotation::kOurs, other = folds.rotation == Rotation::kOther;
  const std::int64_t rank = folder_.config()->kv_lora_rank;
  Matrix<float> latent_rows;
  if (ours && kv_a) latent_rows = rotated_latent_rows(*original, rank);
  // Rows that a rotation which cannot be repeated has turned.
  const std::int64_t turned_rows = !other ? 0 : kv_a ? rank : kv_b ? stored->rows() : 0;
  const Factors f = factors(module, folds);
  const DType type = folder_.find(module.weight())->dtype;
  Sums sums(stored->cols(), type), turned(stored->cols(), type);
  std::vector<float> a(static_cast<std::size_t>(stored->cols())), b(a.size());
  for (std::int64_t r = 0; r < stored->rows(); ++r) {
    original->read_row(r, a.data());
    stored->read_row(r, b.data());
    if (ours && kv_b) folds.to_stored_basis(a);
    if (r < latent_rows.rows()) std::copy_n(latent_rows.row(r), a.size(), a.begin());
    const double row_factor = f.rows.empty() ? 1.0 : double{f.rows[static_cast<std::size_t>(r)]};
    const double step = stored->int8() ? double{stored->scale(r)} : 0.0;
    (r < turned_rows ? turned : sums).add(a, b, row_factor, f.columns, step);
  }
  TensorError error;
  error.size = sums.size + turned.size;
  if (hidden_rotated_) {
    error.how = TensorError::How::kNorm;
    error.difference = std::pow(std::sqrt(sums.stored_size) - std::sqrt(sums.size), 2);
    return error;
  }
  error.how = turned_rows > 0 ? TensorError::How::kProduct : TensorError::How::kElements;
  error.difference = sums.difference + folds.product_error * folds.product_error * turned.size;
  if (stored->int8() && sums.rows > 0) error.steps = sums.mean_steps();
  if (const std::string what = complaint(
          sums, stored->int8(), f.rows.empty() && f.columns.empty() && latent_rows.rows() == 0, turned_rows);
      !what.empty())
    findings.problem(module.weight(),
                     stored->int8() ? "the source's weights within a step or two" : "the source's weights",
                     what);
  return error;
}

}  // namespace latent8
