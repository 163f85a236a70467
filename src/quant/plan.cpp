#include "quant/plan.h"

#include <algorithm>

#include "base/error.h"
#include "quant/source_tensor.h"

namespace latent8 {
namespace {

using Kind = PlannedModule::Kind;

// Builds the modules of one checkpoint; methods append to `out` in module order.
class Planner {
 public:
  Planner(const Checkpoint& source, const QuantizeOptions& options, DType dtype)
      : source_(source), options_(options), config_(source.config()), dtype_(dtype) {}

  std::vector<PlannedModule> embedding() {
    copy("model.embed_tokens.weight");
    return take();
  }

  std::vector<PlannedModule> layer(std::int64_t index) {
    const std::string name = fmt::format("model.layers.{}", index);
    attention(name + ".self_attn");
    if (config_.is_moe_layer(index))
      moe(name + ".mlp");
    else
      mlp(name + ".mlp");
    copy(name + ".input_layernorm.weight");
    copy(name + ".post_attention_layernorm.weight");
    return take();
  }

  std::vector<PlannedModule> head() {
    copy("model.norm.weight");
    if (!config_.tie_word_embeddings || has("lm_head.weight")) copy("lm_head.weight");
    return take();
  }

  // Every tensor behind the last decoder layer, by name.
  std::vector<PlannedModule> mtp() {
    for (std::int64_t n = 0; n < config_.num_nextn_predict_layers; ++n) {
      const std::string prefix = fmt::format("model.layers.{}.", config_.num_hidden_layers + n);
      for (auto it = source_.tensors().lower_bound(prefix);
           it != source_.tensors().end() && it->first.starts_with(prefix); ++it) {
        const bool fp8 = it->second.dtype == DType::kF8E4M3;
        if (keep_weights())
          stored(it->first);
        else if (!it->first.ends_with(kBlockScaleSuffix))
          converted(it->first, fp8 ? dtype_ : it->second.dtype);
      }
    }
    return take();
  }

 private:
  bool keep_weights() const { return options_.weights == QuantizeOptions::Weights::kFloat; }
  bool has(const std::string& name) const { return source_.find(name) != nullptr; }
  std::vector<PlannedModule> take() { return std::exchange(out_, {}); }

  void attention(const std::string& name) {
    if (options_.fa_quant) fa_scales(name);
    const Kind kind = options_.dynamic ? Kind::kDynamic : Kind::kStatic;
    if (config_.q_lora_rank) {
      linear(name + ".q_a_proj", kind);
      copy(name + ".q_a_layernorm.weight");
      linear(name + ".q_b_proj", kind);
    } else {
      linear(name + ".q_proj", kind);
    }
    linear(name + ".kv_a_proj_with_mqa", kind);
    copy(name + ".kv_a_layernorm.weight");
    copy(name + ".kv_b_proj.weight");  // float: it is absorbed into the query
    linear(name + ".o_proj", kind);
  }

  void mlp(const std::string& name) {
    for (const char* part : {".gate_proj", ".up_proj", ".down_proj"}) linear(name + part, Kind::kDynamic);
  }

  void moe(const std::string& name) {
    for (std::int64_t e = 0; e < config_.n_routed_experts; ++e) mlp(fmt::format("{}.experts.{}", name, e));
    copy(name + ".gate.weight");
    if (has(name + ".gate.e_score_correction_bias")) copy(name + ".gate.e_score_correction_bias");
    if (config_.n_shared_experts > 0) mlp(name + ".shared_experts");
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
    // Already in quant_bias of a static linear; the reference calls it FLOAT (facts/format.md 1.2).
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

  void begin(Kind kind, const std::string& name) { out_.push_back({kind, name, {}}); }
  void add(const std::string& name, DType dtype, std::vector<std::int64_t> shape, QuantType type) {
    out_.back().tensors.push_back({{name, dtype, std::move(shape)}, type});
  }

  const Checkpoint& source_;
  const QuantizeOptions& options_;
  const ModelConfig& config_;
  DType dtype_;
  std::vector<PlannedModule> out_;
};

}  // namespace

bool CheckpointPlan::needs_calibration() const {
  return std::any_of(layers.begin(), layers.end(), [](const std::vector<PlannedModule>& layer) {
    return std::any_of(layer.begin(), layer.end(), [](const PlannedModule& module) {
      return module.kind == Kind::kStatic || module.kind == Kind::kFaScales;
    });
  });
}

DType model_dtype(const Checkpoint& source) {
  const TensorMap& tensors = source.tensors();
  const bool fp8 = std::any_of(tensors.begin(), tensors.end(),
                               [](const auto& entry) { return entry.second.dtype == DType::kF8E4M3; });
  return fp8 ? DType::kBf16 : source.config().torch_dtype;
}

CheckpointPlan plan_checkpoint(const Checkpoint& source, const QuantizeOptions& options) {
  CheckpointPlan plan;
  plan.dtype = model_dtype(source);
  Planner planner(source, options, plan.dtype);
  plan.embedding = planner.embedding();
  for (std::int64_t l = 0; l < source.config().num_hidden_layers; ++l)
    plan.layers.push_back(planner.layer(l));
  plan.head = planner.head();
  if (options.mtp == QuantizeOptions::Mtp::kFloat) plan.mtp = planner.mtp();
  return plan;
}

}  // namespace latent8
