#include "latent8/verify.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <memory>
#include <set>
#include <unordered_set>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "source/rotated_source.h"
#include "source/source_reader.h"
#include "sys/thread_pool.h"
#include "verify/findings.h"
#include "verify/folder.h"
#include "verify/layout.h"
#include "verify/source_comparison.h"
#include "verify/values.h"

namespace latent8 {
namespace {

constexpr std::int64_t kOutside = -1;  // instead of a layer's number

bool is_int8(std::optional<QuantType> type) {
  return type == QuantType::kW8A8 || type == QuantType::kW8A8Dynamic;
}

class Verification {
 public:
  Verification(const VerifyOptions& options, VerifyResult& result)
      : options_(options), result_(result), folder_(options.checkpoint, findings_), pool_(options.threads) {
    if (options.source.empty()) return;
    source_ = std::make_unique<const Checkpoint>(Checkpoint::open(options.source));
    reader_ = std::make_unique<const SourceReader>(*source_);
  }

  void run() {
    result_.files = folder_.files();
    result_.tensors = static_cast<std::int64_t>(folder_.tensors().size());
    result_.bytes = folder_.bytes();
    if (folder_.config() && folder_.description()) check_model();
    result_.problems = std::move(findings_.problems);
    result_.notes = std::move(findings_.notes);
  }

 private:
  const ModelConfig& config() const { return *folder_.config(); }
  std::int64_t all_layers() const { return config().num_hidden_layers + config().num_nextn_predict_layers; }

  void check_model() {
    const QuantDescription& description = *folder_.description();
    result_.dialect = description.version.empty() ? "mindie" : "ascendv1";
    result_.description_file = description.file_name;
    result_.model_quant_type = description.model_quant_type;
    result_.layers = config().num_hidden_layers;
    result_.mtp = "none";
    if (source_) start_comparison();
    check_modules(kOutside, expected_outside(config()));
    for (std::int64_t layer = 0; layer < all_layers(); ++layer) check_layer(layer);
    check_names();
    check_marks();
    add_kinds();
    if (weak_.rows > 0)
      findings_.note(weak_.example,
                     fmt::format("and {} tensors more have {} rows with no code beyond half of the range",
                                 weak_.tensors - 1, weak_.rows));
  }

  void start_comparison() {
    if (!same_model(config(), source_->config(), findings_)) return;
    comparison_ = std::make_unique<const SourceComparison>(folder_, *reader_);
    if (!comparison_->hidden_rotated() || compare_rotated()) return;
    result_.not_comparable.push_back(
        "the hidden state is rotated, by a rotation that is not known: weights are compared by their norms");
  }

  // Whether the hidden state has the known rotation; if so, weights are compared with the rotated source's.
  bool compare_rotated() {
    try {
      rotated_ = std::make_unique<const RotatedSource>(*reader_);
    } catch (const Error&) {
      return false;  // such a source has no rotated form
    }
    auto comparison = std::make_unique<const SourceComparison>(folder_, *rotated_);
    if (comparison->hidden_rotated()) return false;
    comparison_ = std::move(comparison);
    result_.folds.push_back(
        {"model", "rotations of the hidden state, of q_a_proj's output and of values", ""});
    return true;
  }

  void check_layer(std::int64_t layer) {
    if (options_.progress) options_.progress({layer, all_layers(), looked_at_, result_.bytes});
    const bool mtp = layer >= config().num_hidden_layers;
    const std::vector<ExpectedModule> modules = expected_layer(config(), layer);
    const auto known = [&](const ExpectedModule& m) {
      return folder_.find(m.weight()) != nullptr || folder_.type_of(m.weight());
    };
    if (!std::any_of(modules.begin(), modules.end(), known)) {
      const std::string name = layer_name(layer);
      if (!mtp)
        findings_.problem(name,
                          "a layer, as config.json has num_hidden_layers " +
                              std::to_string(config().num_hidden_layers) + ",",
                          "none of its tensors");
      else
        findings_.note(name, "is the MTP layer of config.json, and is left out");
      return;
    }
    if (mtp && !any_stored(modules)) {
      findings_.note(layer_name(layer), "is listed in the description, and is left out");
      claim(layer, modules);
      return;
    }
    check_modules(layer, modules);
    ModuleChecker fa(folder_);
    fa.check_fa(layer);
    take(fa);
    const bool int8_cache = folder_.description()->lists_fa_tensors(layer);
    if (!mtp)
      result_.fa_layers += int8_cache ? 1 : 0;
    else
      result_.mtp = std::any_of(modules.begin(), modules.end(),
                                [&](const ExpectedModule& m) { return is_int8(folder_.type_of(m.weight())); })
                        ? "mix"
                        : "float";
  }

  bool any_stored(const std::vector<ExpectedModule>& modules) const {
    return std::any_of(modules.begin(), modules.end(), [&](const ExpectedModule& m) {
      return folder_.find(m.weight()) != nullptr || folder_.lost_with_file(m.weight());
    });
  }

  void claim(std::int64_t layer, const std::vector<ExpectedModule>& modules) {
    for (const ExpectedModule& module : modules)
      for (std::string& name : names_of(module)) known_.insert(std::move(name));
    if (layer != kOutside)
      for (std::string& name : fa_names(layer)) known_.insert(std::move(name));
  }

  void take(ModuleChecker& checker) {
    findings_.append(std::move(checker.findings));
    looked_at_ += checker.bytes;
    if (checker.weak.rows == 0) return;
    if (weak_.rows == 0) weak_.example = checker.weak.example;
    weak_.rows += checker.weak.rows;
    weak_.tensors += checker.weak.tensors;
  }

  void check_modules(std::int64_t layer, const std::vector<ExpectedModule>& modules) {
    claim(layer, modules);
    const bool compared = comparison_ && layer < std::min(config().num_hidden_layers, source_layers());
    LayerFolds folds;
    if (compared) folds = find_folds(layer, modules);
    std::vector<ModuleChecker> checkers(modules.size(), ModuleChecker(folder_));
    std::vector<Findings> differences(modules.size());
    std::vector<TensorError> errors(modules.size());
    const bool mtp_compared =
        comparison_ && layer >= config().num_hidden_layers && config().num_hidden_layers == source_layers();
    if (mtp_compared) folds = find_folds(layer, modules);
    pool_.parallel_for(static_cast<std::int64_t>(modules.size()), 1, [&](std::int64_t i, std::int64_t, int) {
      const auto m = static_cast<std::size_t>(i);
      checkers[m].check(modules[m]);
      if ((compared || mtp_compared) && checkers[m].findings.problems.empty())
        errors[m] = comparison_->compare(modules[m], folds, differences[m]);
    });
    for (std::size_t m = 0; m < modules.size(); ++m) {
      take(checkers[m]);
      findings_.append(std::move(differences[m]));
      add_error(modules[m], errors[m]);
    }
  }

  std::int64_t source_layers() const { return source_->config().num_hidden_layers; }

  LayerFolds find_folds(std::int64_t layer, const std::vector<ExpectedModule>& modules) {
    LayerFolds folds;
    try {
      folds = comparison_->folds(layer, modules, findings_);
    } catch (const Error& error) {
      findings_.problem(options_.source.string(), "", error.what());
    }
    std::string text;
    for (const auto& [norm, factors] : folds.columns)
      text += (text.empty() ? "" : ", ") + norm.substr(norm.rfind('.') + 1);
    if (!folds.kv_b_rows.empty()) text += std::string(text.empty() ? "" : ", ") + "rows of kv_b_proj";
    if (!text.empty()) text = "scales of " + text;
    if (folds.rotation != LayerFolds::Rotation::kNone)
      text += fmt::format("{}rotated latent{}", text.empty() ? "" : "; ",
                          folds.rotation == LayerFolds::Rotation::kOurs
                              ? ""
                              : ", by a rotation that is not known: compared through kv_b_proj * kv_a_proj");
    if (!text.empty()) result_.folds.push_back({layer == kOutside ? "outside" : layer_name(layer), text, ""});
    return folds;
  }

  void add_error(const ExpectedModule& module, const TensorError& error) {
    if (error.how == TensorError::How::kNotCompared) return;
    auto it = std::find_if(result_.kinds.begin(), result_.kinds.end(),
                           [&](const VerifyKind& k) { return k.kind == module.kind; });
    if (it == result_.kinds.end()) {
      result_.kinds.push_back({module.kind, 0, 0.0, 0.0, "", 0.0, 0, 0});
      sums_.push_back({});
      it = std::prev(result_.kinds.end());
    }
    VerifyKind& kind = *it;
    TensorError& sum = sums_[static_cast<std::size_t>(it - result_.kinds.begin())];
    ++kind.tensors;
    kind.by_product += error.how == TensorError::How::kProduct ? 1 : 0;
    kind.by_norm += error.how == TensorError::How::kNorm ? 1 : 0;
    sum.difference += error.difference;
    sum.size += error.size;
    const double relative = error.size > 0.0 ? std::sqrt(error.difference / error.size) : 0.0;
    if (!(relative <= kind.worst_error) || kind.worst.empty()) {
      kind.worst_error = relative;
      kind.worst = module.weight();
    }
    kind.worst_steps = std::max(kind.worst_steps, error.steps);
  }

  void add_kinds() {
    for (std::size_t i = 0; i < sums_.size(); ++i)
      result_.kinds[i].error = sums_[i].size > 0.0 ? std::sqrt(sums_[i].difference / sums_[i].size) : 0.0;
    std::sort(result_.kinds.begin(), result_.kinds.end(), [](const VerifyKind& a, const VerifyKind& b) {
      return a.error != b.error ? a.error > b.error : a.kind < b.kind;
    });
  }

  bool in_mtp(const std::string& name) const {
    return config().num_nextn_predict_layers > 0 &&
           name.starts_with(layer_name(config().num_hidden_layers) + ".");
  }

  // Names that no module of the model has, and tensors that the description does not list.
  void check_names() {
    const QuantDescription& description = *folder_.description();
    for (const auto& [name, type] : description.entries()) {
      if (known_.count(name) != 0) continue;
      if (in_mtp(name))
        findings_.note(name,
                       "is listed in the description, and belongs to no part of an MTP layer that is known");
      else
        findings_.problem(name, "a tensor of the model that config.json describes", "another");
    }
    for (const auto& [name, view] : folder_.tensors())
      if (!description.type_of(name) && name.find("norm.module.") == std::string::npos &&
          known_.count(name) == 0)
        findings_.problem(name, fmt::format("a tensor that {} lists", description.file_name), "no entry");
  }

  void check_marks() {
    const QuantDescription& description = *folder_.description();
    const ConfigMarks& marks = folder_.marks();
    const bool int8 = std::any_of(description.entries().begin(), description.entries().end(),
                                  [](const auto& entry) { return is_int8(entry.second); });
    if (marks.quantize.empty()) findings_.problem("config.json", "'quantize'", "no such key");
    if (int8 && marks.mla_quantize.empty()) findings_.problem("config.json", "'mla_quantize'", "no such key");
    if (int8 && marks.fp8) findings_.problem("config.json", "no 'quant_method' beside int8 weights", "'fp8'");
    if (result_.mtp == "mix" && marks.mtp_quantize.empty())
      findings_.problem("config.json", "'mtp_quantize' beside an int8 MTP layer", "no such key");
    result_.fa_quant_type =
        description.fa_quant_type.empty() ? marks.fa_quant_type : description.fa_quant_type;
    if (result_.fa_layers > 0 && marks.fa_quant_type.empty())
      findings_.problem("config.json", "quantization_config.fa_quant_type 'FAKQuant'", "none");
    if (result_.fa_layers > 0 && description.fa_quant_type.empty())
      findings_.problem(description.file_name, "'fa_quant_type' beside fa_* tensors", "none");
    if (result_.fa_layers == 0 && !result_.fa_quant_type.empty())
      findings_.note(
          description.file_name,
          fmt::format("has fa_quant_type '{}', but no layer has fa_* tensors", result_.fa_quant_type));
  }

  const VerifyOptions& options_;
  VerifyResult& result_;
  Findings findings_;
  VerifyFolder folder_;
  ThreadPool pool_;
  std::unique_ptr<const Checkpoint> source_;  // none: nothing is compared
  std::unique_ptr<const SourceReader> reader_;
  std::unique_ptr<const RotatedSource> rotated_;  // if the checkpoint is
  std::unique_ptr<const SourceComparison> comparison_;
  std::unordered_set<std::string> known_;  // names that tensors of the model may have
  std::vector<TensorError> sums_;          // parallel to result_.kinds
  WeakRows weak_;
  std::int64_t looked_at_ = 0;  // bytes
};

}  // namespace

std::string to_string(const VerifyFinding& finding) {
  if (finding.got.empty()) return finding.where + " " + finding.expected;
  if (finding.expected.empty()) return finding.got;
  return fmt::format("{}: {} expected, got {}", finding.where, finding.expected, finding.got);
}

VerifyResult verify(const VerifyOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  VerifyResult result;
  Verification(options, result).run();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace latent8
