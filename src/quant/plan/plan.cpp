#include "quant/plan/plan.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <string_view>

#include "base/error.h"
#include "formats/layer_schema.h"
#include "model/unread_tensors.h"
#include "model/weights.h"
#include "source/float_checkpoint.h"
#include "source/source_tensor.h"

namespace latent8 {
namespace {

using Kind = PlannedModule::Kind;
using Part = PlannedModule::Part;

// Builds the modules of one checkpoint; methods append to `out` in module order.
class Planner {
 public:
  Planner(const Checkpoint& source, const QuantizeOptions& options, DType dtype)
      : source_(source),
        options_(options),
        config_(source.config()),
        outside_(outside_schema(config_)),
        dtype_(dtype) {}

  std::vector<PlannedModule> embedding() {
    copy(outside_.weight(TensorRole::kEmbedTokens));
    return take();
  }

  std::vector<PlannedModule> layer(std::int64_t index, bool fa) {
    const LayerSchema schema = layer_schema(config_, index);
    part_ = Part::kAttention;
    if (fa) fa_scales(attention_name(index));
    for_each_listed(schema, [&](const TensorSchema& tensor, std::int64_t expert) {
      part_ = part_of(tensor);
      expert_ = expert;
      plan(tensor, schema.name(tensor, expert));
    });
    part_ = Part::kOther;
    expert_ = -1;
    return take();
  }

  std::vector<PlannedModule> head() {
    copy(outside_.weight(TensorRole::kFinalNorm));
    const TensorSchema& head = outside_.get(TensorRole::kLmHead);
    if (!head.optional || has(outside_.weight(head))) copy(outside_.weight(head));
    return take();
  }

  // The first MTP layer quantised; what surrounds it, and further MTP layers, in float.
  std::vector<PlannedModule> mtp_mix(bool fa) {
    out_ = layer(config_.num_hidden_layers, fa);
    std::set<std::string, std::less<>> planned;
    for (const PlannedModule& module : out_)
      for (const std::string& name : source_names(source_, module)) planned.insert(name);
    for_each_mtp_tensor([&](const std::string& name, const TensorView&) {
      if (!planned.contains(name) && !name.ends_with(kBlockScaleSuffix)) copy(name);
    });
    return take();
  }

  // Every tensor behind the last decoder layer, by name.
  std::vector<PlannedModule> mtp_float() {
    for_each_mtp_tensor([&](const std::string& name, const TensorView& view) {
      if (keep_weights())
        stored(name);
      else if (!name.ends_with(kBlockScaleSuffix))
        converted(name, view.dtype == DType::kF8E4M3 ? dtype_ : view.dtype);
    });
    return take();
  }

 private:
  bool keep_weights() const { return options_.weights == QuantizeOptions::Weights::kFloat; }
  bool has(const std::string& name) const { return source_.find(name) != nullptr; }
  std::vector<PlannedModule> take() { return std::exchange(out_, {}); }

  template <class Visit>
  void for_each_mtp_tensor(const Visit& visit) {
    for (std::int64_t n = 0; n < config_.num_nextn_predict_layers; ++n) {
      const LayerSchema schema = layer_schema(config_, config_.num_hidden_layers + n);
      const std::string prefix = layer_name(schema.layer) + ".", input = schema.weight(TensorRole::kEhProj);
      for (auto it = source_.tensors().lower_bound(prefix);
           it != source_.tensors().end() && it->first.starts_with(prefix); ++it) {
        input_ = it->first == input ? InputKind::kMtp : InputKind::kNone;
        visit(it->first, it->second);
      }
    }
  }

  static Part part_of(const TensorSchema& tensor) {
    if (tensor.part == LayerPart::kAttention) return Part::kAttention;
    return tensor.part == LayerPart::kExpert ? Part::kExpert : Part::kMlp;
  }

  void plan(const TensorSchema& tensor, const std::string& name) {
    input_ = tensor.reads;
    if (tensor.form == TensorForm::kVector) {
      if (has(name)) copy(name);
    } else if (tensor.may_be_int8()) {
      linear(name, part_ == Part::kAttention && !options_.dynamic ? Kind::kStatic : Kind::kDynamic);
      if (tensor.part == LayerPart::kDenseMlp && tensor.role == TensorRole::kDownProj) may_stay_float(name);
    } else if (!tensor.optional || has(name + ".weight")) {
      copy(name + ".weight");
      if (has(name + ".bias")) copy(name + ".bias");
    }
  }

  // What passes every token of a dense layer may stay float where int8 inputs cost too much.
  void may_stay_float(const std::string& down) {
    if (options_.fallback != QuantizeOptions::Fallback::kAuto || keep_weights()) return;
    if (has(down + ".bias")) return;
    out_.back().fallback = {
        {{down + ".weight", dtype_, source_.get(down + ".weight").shape}, QuantType::kFloat}};
  }

  void linear(const std::string& name, Kind kind) {
    if (keep_weights()) {
      copy(name + ".weight");
      if (has(name + ".bias")) copy(name + ".bias");
      return;
    }
    const TensorView& weight = source_.get(name + ".weight");
    if (weight.shape.size() != 2)
      throw_error(ErrorCode::kCorrupt, "tensor '{}.weight': two dimensions expected, got shape {}", name,
                  weight.shape_text());
    const std::int64_t rows = weight.shape[0];
    const QuantType type = kind == Kind::kStatic ? QuantType::kW8A8 : QuantType::kW8A8Dynamic;
    begin(kind, name);
    add(name + ".weight", DType::kI8, weight.shape, type);
    // Already in quant_bias of a static linear; the reference calls it FLOAT (docs/format.md, "Quantised
    // linears").
    if (has(name + ".bias")) add(name + ".bias", dtype_, {rows}, QuantType::kFloat);
    add(name + ".weight_scale", dtype_, {rows, 1}, type);
    add(name + ".weight_offset", dtype_, {rows, 1}, type);
    if (kind == Kind::kDynamic) return;
    add(name + ".input_scale", dtype_, {1}, type);
    add(name + ".input_offset", dtype_, {1}, type);
    add(name + ".quant_bias", DType::kI32, {rows}, type);
    add(name + ".deq_scale", dtype_ == DType::kF16 ? DType::kI64 : DType::kF32, {rows}, type);
  }

  void fa_scales(const std::string& name) {
    begin(Kind::kFaScales, name);
    if (options_.fallback == QuantizeOptions::Fallback::kAuto) out_.back().fallback.emplace();
    for (const char* part : {".fa_q", ".fa_k", ".fa_v"})
      add(name + part + ".scale", dtype_, {fa_rows(part), 1}, QuantType::kFAQuant);
    for (const char* part : {".fa_q", ".fa_k", ".fa_v"})
      add(name + part + ".offset", DType::kI8, {fa_rows(part), 1}, QuantType::kFAQuant);
  }
  std::int64_t fa_rows(std::string_view part) const {
    return part == ".fa_q" ? config_.num_attention_heads : 1;
  }

  void copy(const std::string& name) {
    if (!keep_weights()) return converted(name, dtype_);
    stored(name);
    if (has(name + kBlockScaleSuffix)) stored(name + kBlockScaleSuffix);
  }
  void converted(const std::string& name, DType dtype) {
    begin(Kind::kFloat, name);
    add(name, dtype, source_.get(name).shape, QuantType::kFloat);
  }
  void stored(const std::string& name) {
    const TensorView& view = source_.get(name);
    begin(Kind::kStored, name);
    add(name, view.dtype, view.shape, QuantType::kFloat);
  }

  void begin(Kind kind, const std::string& name) {
    out_.push_back({kind, name, {}, part_, expert_, input_, {}});
  }
  void add(const std::string& name, DType dtype, std::vector<std::int64_t> shape, QuantType type) {
    out_.back().tensors.push_back({{name, dtype, std::move(shape)}, type});
  }

  const Checkpoint& source_;
  const QuantizeOptions& options_;
  const ModelConfig& config_;
  const LayerSchema outside_;
  DType dtype_;
  // Of the modules that are appended:
  Part part_ = Part::kOther;
  std::int64_t expert_ = -1;
  InputKind input_ = InputKind::kNone;
  std::vector<PlannedModule> out_;
};

struct FallbackList {
  std::string_view part;  // of the path, in capitals
  std::array<std::int64_t, 13> layers;
};
constexpr std::array kFallbackLists{FallbackList{"R1", {0, 1, 2, 46, 47, 50, 54, 55, 56, 57, 58, 59, 60}},
                                    FallbackList{"V3.1", {0, 1, 2, 50, 51, 53, 54, 55, 56, 57, 58, 59, 60}},
                                    FallbackList{"V3", {0, 1, 2, 46, 50, 51, 53, 54, 55, 56, 57, 59, 60}}};

// No model of the family has biases of norms, gate or head, except the indexer's LayerNorm, which is carried
// along. The forward pass adds them; smoothing, rotation and the plan do not know them.
void refuse_lost_biases(const Checkpoint& source) {
  const ModelSchema schema(source.config());
  for (const auto& [name, view] : source.tensors()) {
    const std::optional<ModelSchema::Found> found = schema.find(name);
    if (found && found->suffix == ".bias" && !found->tensor->may_be_int8() &&
        found->tensor->role != TensorRole::kIndexerKNorm)
      throw_error(ErrorCode::kUnsupported,
                  "'{}': tensor '{}': no bias expected of a norm, gate or head: the quantiser cannot keep it",
                  source.dir().string(), name);
  }
}

}  // namespace

void PlannedModule::fall_back() {
  std::swap(tensors, *fallback);
  if (tensors.empty()) {
    kind = Kind::kNone;
  } else {
    name += ".weight";
    kind = Kind::kFloat;
  }
}

bool PlannedUnit::needs_calibration() const {
  return std::any_of(modules.begin(), modules.end(), [](const PlannedModule& module) {
    return module.kind == PlannedModule::Kind::kStatic || module.kind == PlannedModule::Kind::kFaScales;
  });
}

bool CheckpointPlan::needs_calibration() const {
  return std::any_of(units.begin(), units.end(),
                     [](const PlannedUnit& unit) { return unit.needs_calibration(); });
}

std::int64_t CheckpointPlan::fa_layers() const {
  return std::count_if(units.begin(), units.end(), [](const PlannedUnit& unit) {
    return unit.kind == PlannedUnit::Kind::kLayer && unit.fa;
  });
}

bool CheckpointPlan::has(PlannedUnit::Kind kind) const {
  return std::any_of(units.begin(), units.end(), [&](const PlannedUnit& unit) { return unit.kind == kind; });
}

std::vector<std::string> source_names(const Checkpoint& source, const PlannedModule& module) {
  if (module.kind == Kind::kFaScales || module.kind == Kind::kNone) return {};
  const bool linear = module.kind == Kind::kStatic || module.kind == Kind::kDynamic;
  std::vector<std::string> names{linear ? module.name + ".weight" : module.name};
  const auto add = [&](const std::string& name) {
    if (source.find(name) != nullptr) names.push_back(name);
  };
  if (module.kind != Kind::kStored) add(names[0] + kBlockScaleSuffix);
  if (linear) add(module.name + ".bias");
  return names;
}

Checkpoint open_float_source(const QuantizeOptions& options) {
  Checkpoint source = open_float_checkpoint(options.model);
  const std::int64_t layers = layers_to_write(source.config(), options);
  check_shapes(ModelSchema(source.config()), source.tensors());
  refuse_unread_tensors(source, options.ignore_unread_tensors,
                        layers < source.config().num_hidden_layers ? layers : 0);
  refuse_lost_biases(source);
  return source;
}

std::int64_t layers_to_write(const ModelConfig& config, const QuantizeOptions& options) {
  if (options.layer_count < 0 || options.layer_count > config.num_hidden_layers)
    throw_error(ErrorCode::kInvalidArgument,
                "layer count: 0 (all) to {} expected (config.json: 'num_hidden_layers'), got {}",
                config.num_hidden_layers, options.layer_count);
  return options.layer_count == 0 ? config.num_hidden_layers : options.layer_count;
}

std::vector<std::int64_t> reference_fallback(const std::filesystem::path& model) {
  std::string path = model.string();
  for (char& c : path) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const FallbackList& list : kFallbackLists)
    if (path.find(list.part) != std::string::npos) return {list.layers.begin(), list.layers.end()};
  return {};
}

CheckpointPlan plan_checkpoint(const Checkpoint& source, const QuantizeOptions& options) {
  using Unit = PlannedUnit::Kind;
  const ModelConfig& config = source.config();
  CheckpointPlan plan;
  plan.dtype = model_dtype(source);
  plan.layers = layers_to_write(config, options);
  std::vector<std::int64_t> fallback;
  if (options.fa_quant && options.fallback == QuantizeOptions::Fallback::kReference)
    fallback = reference_fallback(options.model);
  Planner planner(source, options, plan.dtype);
  plan.units.push_back({Unit::kEmbedding, -1, false, planner.embedding()});
  for (std::int64_t l = 0; l < plan.layers; ++l) {
    const bool falls_back = std::find(fallback.begin(), fallback.end(), l) != fallback.end();
    const bool fa = options.fa_quant && !falls_back;
    if (falls_back) plan.float_cache.push_back(l);
    plan.units.push_back({Unit::kLayer, l, fa, planner.layer(l, fa)});
  }
  plan.units.push_back({Unit::kHead, -1, false, planner.head()});
  // The MTP layer predicts from what the last layer gives: without that layer it has no use.
  if (plan.layers < config.num_hidden_layers || !has_mtp(source)) return plan;
  if (options.mtp == QuantizeOptions::Mtp::kMix)
    plan.units.push_back(
        {Unit::kMtp, config.num_hidden_layers, options.fa_quant, planner.mtp_mix(options.fa_quant)});
  if (options.mtp == QuantizeOptions::Mtp::kFloat)
    plan.units.push_back({Unit::kMtpFloat, -1, false, planner.mtp_float()});
  return plan;
}

}  // namespace latent8
