#include "quant/compat/plan.h"

#include <algorithm>

#include "base/error.h"
#include "formats/layer_schema.h"
#include "source/source_tensor.h"

namespace latent8::compat {
namespace {

using Anti = QuantizeOptions::Anti;

bool holds_fp8(const Checkpoint& source) {
  return std::any_of(source.tensors().begin(), source.tensors().end(),
                     [](const auto& entry) { return entry.second.dtype == DType::kF8E4M3; });
}

DType model_type(const Checkpoint& source) {
  const DType type = holds_fp8(source) ? DType::kBf16 : source.config().torch_dtype;
  if (type != DType::kBf16 && type != DType::kF16)
    throw_error(ErrorCode::kUnsupported,
                "config.json: 'torch_dtype': bfloat16 or float16 expected by the msmodelslim mode, got {}",
                to_string(type));
  return type;
}

class Planner {
 public:
  Planner(const Checkpoint& source, const QuantizeOptions& options, Plan& plan)
      : source_(source), options_(options), config_(source.config()), plan_(plan) {}

  void run(std::int64_t layers) {
    const LayerSchema outside = outside_schema(config_);
    copy(outside.weight(TensorRole::kEmbedTokens));
    for (std::int64_t l = 0; l < layers; ++l) layer(l);
    norm(outside.name(TensorRole::kFinalNorm));
    const TensorSchema& head = outside.get(TensorRole::kLmHead);
    if (!head.optional || source_.find(outside.weight(head)) != nullptr) copy(outside.weight(head));
  }

  // The source's index lists its tensors by name.
  void mtp() {
    for (std::int64_t n = 0; n < config_.num_nextn_predict_layers; ++n) {
      const std::string prefix = layer_name(config_.num_hidden_layers + n) + ".";
      const TensorMap& tensors = source_.tensors();
      for (auto it = tensors.lower_bound(prefix); it != tensors.end() && it->first.starts_with(prefix);
           ++it) {
        if (it->first.ends_with(kBlockScaleSuffix)) continue;
        const bool fp8 = it->second.dtype == DType::kF8E4M3;
        plan_.mtp.push_back({{it->first, fp8 ? plan_.type : it->second.dtype, it->second.shape}});
      }
    }
  }

 private:
  void layer(std::int64_t index) {
    if (options_.fa_quant && !plan_.float_layers.contains(index)) fa_scales(attention_name(index));
    const LayerSchema schema = layer_schema(config_, index);
    for_each_listed(schema, [&](const TensorSchema& tensor, std::int64_t expert) {
      tensor_of(tensor, schema.name(tensor, expert));
    });
  }

  void tensor_of(const TensorSchema& tensor, const std::string& name) {
    if (tensor.form == TensorForm::kNorm) return norm(name);
    if (tensor.form == TensorForm::kMatrix) return copy(name + ".weight");
    if (tensor.form == TensorForm::kVector) {
      if (source_.find(name) != nullptr) copy(name);
      return;
    }
    const bool attention = tensor.part == LayerPart::kAttention;
    // m4 smooths, and so shifts, what reads the hidden state or the query's latent.
    const bool shifted = attention && options_.anti == Anti::kM4 && tensor.reads != InputKind::kO;
    linear(name, shifted, attention && !options_.dynamic ? QuantType::kW8A8 : QuantType::kW8A8Dynamic);
  }

  void linear(const std::string& name, bool bias, QuantType type) {
    const TensorView& weight = source_.get(name + ".weight");
    if (weight.shape.size() != 2)
      throw_error(ErrorCode::kCorrupt, "tensor '{}.weight': two dimensions expected, got shape {}", name,
                  weight.shape_text());
    const std::int64_t rows = weight.shape[0];
    add(name + ".weight", DType::kI8, weight.shape, type);
    if (bias) add(name + ".bias", plan_.type, {rows}, QuantType::kFloat);
    add(name + ".weight_scale", plan_.type, {rows, 1}, type);
    add(name + ".weight_offset", plan_.type, {rows, 1}, type);
    if (type == QuantType::kW8A8Dynamic) return;
    add(name + ".input_scale", plan_.type, {1}, type);
    add(name + ".input_offset", plan_.type, {1}, type);
    add(name + ".quant_bias", DType::kI32, {rows}, type);
    add(name + ".deq_scale", plan_.type == DType::kF16 ? DType::kI64 : DType::kF32, {rows}, type);
  }

  void fa_scales(const std::string& name) {
    const auto rows = [&](std::string_view part) {
      return part == ".fa_q" ? config_.num_attention_heads : 1;
    };
    for (const char* part : {".fa_q", ".fa_k", ".fa_v"})
      add(name + part + ".scale", plan_.type, {rows(part), 1}, QuantType::kFAQuant);
    for (const char* part : {".fa_q", ".fa_k", ".fa_v"})
      add(name + part + ".offset", DType::kI8, {rows(part), 1}, QuantType::kFAQuant);
  }

  void norm(const std::string& name) {
    copy(name + ".weight");
    if (!has_norm_bias(options_)) return;
    const std::vector<std::int64_t> shape = source_.get(name + ".weight").shape;
    add(name + ".bias", DType::kF32, shape, QuantType::kFloat);
    if (!doubles_norms(options_)) return;
    plan_.tensors.push_back({{name + ".module.weight", plan_.type, shape}, QuantType::kFloat, false});
    plan_.tensors.push_back({{name + ".module.bias", DType::kF32, shape}, QuantType::kFloat, false});
  }

  void copy(const std::string& name) { add(name, plan_.type, source_.get(name).shape, QuantType::kFloat); }
  void add(const std::string& name, DType dtype, std::vector<std::int64_t> shape, QuantType type) {
    plan_.tensors.push_back({{name, dtype, std::move(shape)}, type});
  }

  const Checkpoint& source_;
  const QuantizeOptions& options_;
  const ModelConfig& config_;
  Plan& plan_;
};

// What the reference has for V3 alone.
void refuse_other_formulas(const ModelConfig& c) {
  if (c.scale_emb == 1.0 && !c.scale_depth && !c.dim_model_base && c.rope_interleave && c.index_topk == 0 &&
      (!c.rope_scaling || c.rope_scaling->type == "yarn"))
    return;
  throw_error(ErrorCode::kUnsupported,
              "config.json: 'model_type': a model that computes as DeepSeek V3 does expected by the "
              "msmodelslim mode, got '{}': what the reference writes for it is not known; leave --compat out",
              c.model_type);
}

}  // namespace

bool has_norm_bias(const QuantizeOptions& options) { return options.anti == Anti::kM4; }

bool doubles_norms(const QuantizeOptions& options) {
  return has_norm_bias(options) && options.format == QuantizeOptions::Format::kMindie;
}

Plan make_plan(const Checkpoint& source, const QuantizeOptions& options, std::int64_t layers,
               std::set<std::int64_t> float_layers) {
  if (!source.config().q_lora_rank)
    throw_error(ErrorCode::kUnsupported,
                "config.json: 'q_lora_rank': a number expected by the msmodelslim mode, got null: what the "
                "reference writes for such models is not known");
  refuse_other_formulas(source.config());
  Plan plan;
  plan.type = model_type(source);
  plan.float_layers = std::move(float_layers);
  Planner planner(source, options, plan);
  planner.run(layers);
  if (options.mtp == QuantizeOptions::Mtp::kFloat) planner.mtp();
  return plan;
}

}  // namespace latent8::compat
