#include "quant/layer/layer_pipeline.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "formats/layer_schema.h"
#include "quant/calibrate/down_error.h"
#include "quant/calibrate/hessian.h"
#include "quant/calibrate/routed_experts.h"
#include "quant/latent/latent_statistics.h"
#include "quant/weights/smoothing.h"

namespace latent8 {
namespace {

using Part = PlannedModule::Part;
using Stage = QuantizeProgress::Stage;

// Added to the diagonal of a Hessian, as a share of its mean.
constexpr double kDamping = 0.01;

// What Fallback::kAuto allows int8 to change the residual stream by, rms over the calibration tokens. Noise
// of 1 % lets experts be chosen otherwise often enough to dominate what quantisation costs.
constexpr double kLargestError = 0.01;

bool is_int8(const PlannedModule& module) {
  return module.kind == PlannedModule::Kind::kStatic || module.kind == PlannedModule::Kind::kDynamic;
}

}  // namespace

LayerPipeline::LayerPipeline(const PipelineContext& context, CalibrationRun& run, PlannedUnit& unit,
                             LayerReport& report, Manifest& manifest)
    : context_(context),
      run_(run),
      unit_(unit),
      report_(report),
      manifest_(manifest),
      working_(context.source.checkpoint().config()) {}

void LayerPipeline::run(const ActivationStore& x, ActivationStore& next, bool output_needed) {
  attention(x, next);
  mlp(next, output_needed);
  stream_modules(context_, modules(Part::kOther));
  if (output_errors_.linears == 0) return;
  const auto linears = static_cast<double>(output_errors_.linears);
  report_.output_error_before = std::sqrt(output_errors_.nearest / linears);
  report_.output_error_after = std::sqrt(output_errors_.written / linears);
}

void LayerPipeline::attention(const ActivationStore& x, ActivationStore& next) {
  context_.progress(Stage::kCalibrate, "attention", 0);
  const auto attention = modules(Part::kAttention);
  working_.read(context_.source, source_names(context_.source.checkpoint(), attention));
  prefetch(context_.source, modules(Part::kMlp));
  AttentionActivations activations(run_, unit_.kind == PlannedUnit::Kind::kMtp, context_.budget,
                                   context_.spill);
  {
    const Checkpoint tensors = working_.checkpoint();
    WeightStorage storage;
    LayerWeights weights;
    load_attention_half(tensors, unit_.layer, {}, storage, weights);
    if (!run_attention(run_, weights, x, next, activations)) refuse_values_that_are_not_finite();
  }
  decide_attention(activations, next);
  const QuantizeOptions& options = context_.options;
  report_.smoothed = smooth_attention(working_, unit_.layer, attention, options.anti,
                                      {options.dynamic, context_.dtype}, activations);
  context_.progress(Stage::kQuantize, "attention", 0);
  write_attention(working_.checkpoint(), activations);
  working_.drop(source_names(context_.source.checkpoint(), attention));
}

// Linears that read the same input share its Hessian, of which one is in memory at a time.
void LayerPipeline::write_attention(const Checkpoint& tensors, const AttentionActivations& activations) {
  LayerObservers observers = observe(tensors, activations);
  std::vector<const PlannedModule*> others = modules(Part::kAttention);
  for (std::size_t kind = 0; kind < kAttentionInputs.size(); ++kind) {
    std::vector<const PlannedModule*> readers;
    for (const PlannedModule* module : others)
      if (is_int8(*module) && module->input == static_cast<InputKind>(kind)) readers.push_back(module);
    if (readers.empty()) continue;
    std::erase_if(others, [&](const PlannedModule* module) {
      return std::find(readers.begin(), readers.end(), module) != readers.end();
    });
    Hessian hessian((run_.scratch().*kAttentionInputs[kind]).cols());
    activations.for_each_step(
        [&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts) {
          hessian.add(run_.ctx(), (s.*kAttentionInputs[kind]).view().row_range(0, step.tokens()), counts);
        });
    observers.factors[kind] = hessian.factor(run_.ctx(), kDamping);
    write(readers, tensors, observers);
    observers.factors[kind].reset();
  }
  write(others, tensors, observers);
}

std::span<const std::uint8_t> LayerPipeline::counts_of(const CalibrationStep& step) const {
  return (unit_.kind == PlannedUnit::Kind::kMtp ? step.next_counts : step.counts).statistics;
}

void LayerPipeline::mlp(ActivationStore& next, bool output_needed) {
  context_.progress(Stage::kCalibrate, "MLP", 0);
  const auto experts = modules(Part::kExpert);
  const auto store = [&] {
    return ActivationStore::temporary(context_.budget, context_.spill, run_.tokens(),
                                      run_.config().hidden_size);
  };
  MlpActivations input{store(), {}, {}};
  if (run_.config().post_mlp_layernorm && !experts.empty() && output_needed) input.sum.emplace(store());
  WeightStorage storage;
  LayerWeights weights;
  common_mlp(next, input, storage, weights);
  if (experts.empty()) return;
  add_idle_experts(unit_.layer, input.routing, run_.config().n_routed_experts, manifest_.result.warnings);
  if (!output_needed) return stream_modules(context_, experts);
  run_experts(context_, run_, unit_.layer, experts, input, next);
  if (input.sum) add_normed_sum(run_, weights, *input.sum, next);
  if (!all_finite(run_, next)) refuse_values_that_are_not_finite();
}

void LayerPipeline::common_mlp(ActivationStore& next, MlpActivations& input, WeightStorage& storage,
                               LayerWeights& weights) {
  const auto common = modules(Part::kMlp), experts = modules(Part::kExpert);
  working_.read(context_.source, source_names(context_.source.checkpoint(), common));
  prefetch(context_.source, std::span(experts).first(std::min(experts.size(), kStreamedModules)));
  const bool rounds = std::any_of(common.begin(), common.end(), [](const auto* m) { return is_int8(*m); });
  const bool may_fall_back =
      std::any_of(common.begin(), common.end(), [](const auto* m) { return is_int8(*m) && m->fallback; });
  std::optional<Hessian> of_h, of_down;
  DownError down_error;
  {
    const Checkpoint tensors = working_.checkpoint();
    LoadOptions options;
    options.routed_experts = false;
    load_mlp_half(tensors, unit_.layer, options, storage, weights);
    run_common_mlp(run_, weights, next, input,
                   [&](const CalibrationStep& step, ConstMat<float> h, ConstMat<float> down_input) {
                     if (!rounds) return;
                     if (!of_h) of_h.emplace(h.cols);
                     if (!of_down) of_down.emplace(down_input.cols);
                     of_h->add(run_.ctx(), h, counts_of(step));
                     of_down->add(run_.ctx(), down_input, counts_of(step));
                     if (may_fall_back)
                       down_error.add(run_, weights.mlp->down_proj, down_input, counts_of(step));
                   });
  }
  fall_back_dense(down_error.value());
  context_.progress(Stage::kQuantize, "MLP", 0);
  LayerObservers observers;
  if (of_h) observers.factors[static_cast<std::size_t>(InputKind::kMlp)] = of_h->factor(run_.ctx(), kDamping);
  if (of_down)
    observers.factors[static_cast<std::size_t>(InputKind::kDown)] = of_down->factor(run_.ctx(), kDamping);
  write(common, working_.checkpoint(), observers);
  working_.drop(source_names(context_.source.checkpoint(), common));
}

void LayerPipeline::decide_attention(AttentionActivations& activations, const ActivationStore& next) {
  const LatentStatistics latent = latent_statistics(activations, 1.0F);
  report_.latent_amax = report_.stored_amax = latent.amax;
  report_.latent_rms = report_.stored_rms = latent.rms;
  if (!unit_.fa) return;
  context_.progress(Stage::kCalibrate, "latent", 0);
  const LatentChoices choices = latent_choices();
  latent_ = choose_latent(working_, unit_.layer, activations, next, choices);
  if (context_.options.fallback == QuantizeOptions::Fallback::kAuto && latent_->error > kLargestError) {
    const auto scales = std::find_if(unit_.modules.begin(), unit_.modules.end(), [](const PlannedModule& m) {
      return m.kind == PlannedModule::Kind::kFaScales;
    });
    fall_back(*scales,
              fmt::format("layer {}: the latent cache stays float: as int8 it changes the residual stream "
                          "by {:.2f} % (at most {:.2f} %)",
                          unit_.layer, 100.0 * latent_->error, 100.0 * kLargestError));
    unit_.fa = false;
    report_.candidates = latent_->candidates;
    report_.error_before = latent_->plain_error;
    latent_.reset();
    return;
  }
  take_fold(working_, unit_.layer, latent_->fold, choices, activations);
  report_latent(activations, *latent_);
}

void LayerPipeline::fall_back(PlannedModule& module, const std::string& why) {
  manifest_.fallbacks.push_back(module.name);
  manifest_.result.warnings.push_back(why);
  module.fall_back();
}

void LayerPipeline::fall_back_dense(double error) {
  if (error <= kLargestError) return;
  for (PlannedModule& module : unit_.modules)
    if (module.fallback && module.kind == PlannedModule::Kind::kDynamic)
      fall_back(module,
                fmt::format("layer {}: down_proj stays float: int8 inputs change the residual stream by "
                            "{:.2f} % (at most {:.2f} %)",
                            unit_.layer, 100.0 * error, 100.0 * kLargestError));
}

LatentChoices LayerPipeline::latent_choices() const {
  const bool float_weights = context_.options.weights == QuantizeOptions::Weights::kFloat;
  const auto is_fp8 = [&](const PlannedModule* module) {
    const TensorView* view = context_.source.checkpoint().find(module->name);
    return view != nullptr && view->dtype == DType::kF8E4M3;
  };
  const auto attention = modules(Part::kAttention);
  // fp8 blocks that are kept as they are take no other values.
  const bool fixed = float_weights && std::any_of(attention.begin(), attention.end(), is_fp8);
  // Its bias would have to be rotated too, which no checkpoint has needed.
  const std::string kv_a = layer_schema(run_.config(), unit_.layer).name(TensorRole::kKvAProj);
  const bool biased = context_.source.checkpoint().find(kv_a + ".bias") != nullptr;
  return {context_.options.rotate_latent && !biased, !fixed, float_weights, context_.dtype};
}

LayerObservers LayerPipeline::observe(const Checkpoint& tensors, const AttentionActivations& activations) {
  const LayerQuantizer quantizer(tensors, context_.dtype, context_.pool, context_.writer);
  const auto attention = modules(Part::kAttention);
  LayerObservers observers = quantizer.observers(attention);
  if (latent_) observers.k_scale = latent_->k_scale;
  WeightStorage storage;
  LayerWeights weights;
  load_attention_half(tensors, unit_.layer, {}, storage, weights);
  activations.for_each_step(
      [&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts) {
        if (observers.fa) absorb_queries(run_, weights.attention, step.tokens());
        observers.observe(s, step.tokens(), counts);
      });
  return observers;
}

void LayerPipeline::report_latent(const AttentionActivations& activations, const LatentChoice& choice) {
  report_.fa = true;
  report_.fold = choice.fold.name();
  report_.candidates = choice.candidates;
  report_.k_scale = choice.k_scale;
  report_.error_before = choice.plain_error;
  report_.error_after = choice.error;
  const LatentStatistics stored = latent_statistics(activations, choice.k_scale);
  report_.stored_amax = stored.amax;
  report_.stored_rms = stored.rms;
  report_.clipped = stored.clipped;
}

void LayerPipeline::refuse_values_that_are_not_finite() const {
  const LayerQuantizer quantizer(context_.source, context_.dtype, context_.pool, context_.writer);
  for (const PlannedModule& module : unit_.modules) quantizer.refuse_values_that_are_not_finite(module);
  throw_error(ErrorCode::kCorrupt,
              "'{}': layer {}: finite activations expected, got NaN or Inf although its weights are finite",
              context_.source.stored().dir().string(), unit_.layer);
}

std::vector<const PlannedModule*> LayerPipeline::modules(Part part) const {
  std::vector<const PlannedModule*> out;
  for (const PlannedModule& module : unit_.modules)
    if (module.part == part) out.push_back(&module);
  return out;
}

void LayerPipeline::write(const std::vector<const PlannedModule*>& modules, const Checkpoint& tensors,
                          const LayerObservers& observers) {
  output_errors_.add(
      LayerQuantizer(tensors, context_.dtype, context_.pool, context_.writer).write(modules, observers));
  context_.progress(Stage::kQuantize, part_name(modules), source_bytes(context_.source.stored(), modules));
}

}  // namespace latent8
