#include "quant/layer_pipeline.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <future>

#include "base/error.h"
#include "quant/hessian.h"
#include "quant/smoothing.h"

namespace latent8 {
namespace {

using Part = PlannedModule::Part;
using Stage = QuantizeProgress::Stage;

// Experts beyond this do not overlap better.
constexpr std::int64_t kLargestGroup = std::int64_t{1} << 30;

// Modules that are written between two reports of progress: a gibibyte of a big model's experts.
constexpr std::size_t kStreamedModules = 72;

// Beginning of a warning about experts; layers are appended to it.
constexpr const char* kIdleExperts = "experts that no calibration token reached: ";

// Added to the diagonal of a Hessian, as a share of its mean.
constexpr double kDamping = 0.01;

// What Fallback::kAuto allows int8 to change the residual stream by, rms over the calibration tokens. Noise
// of 1 % lets experts be chosen otherwise often enough to dominate what quantisation costs.
constexpr double kLargestError = 0.01;

// rms over tokens of what int8 inputs of a down_proj change, relative to the residual stream behind it. To be
// added to when a step's MLP has run: s.x is the stream that entered it, s.delta its output.
class DownError {
 public:
  void add(CalibrationRun& run, const Linear& down, ConstMat<float> input,
           std::span<const std::uint8_t> counts) {
    OpContext& ctx = run.ctx();
    const std::int64_t T = input.rows, n = input.cols;
    ctx.codes.reserve(T, n);
    Matrix<float> rounding(T, n), change(T, down.out_features);
    ctx.pool().parallel_for(T, 8, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) {
        std::int8_t* q = ctx.codes.q.data() + t * n;
        ctx.kernels().quantize_dynamic(
            {input.row(t), q, ctx.codes.scale.data() + t, ctx.codes.sum.data() + t, 1, n, n});
        for (std::int64_t c = 0; c < n; ++c)
          rounding.row(t)[c] = static_cast<float>(q[c]) * ctx.codes.scale[t] - input.row(t)[c];
      }
    });
    linear(ctx, down, rounding.view(), change.view());
    const Scratch& s = run.scratch();
    for (std::int64_t t = 0; t < T; ++t) {
      if (counts[static_cast<std::size_t>(t)] == 0) continue;
      double changed = 0.0, stream = 1e-30;
      for (std::int64_t c = 0; c < change.cols(); ++c) {
        changed += double{change.row(t)[c]} * change.row(t)[c];
        const double x = double{s.x.row(t)[c]} + s.delta.row(t)[c];
        stream += x * x;
      }
      sum_ += changed / stream;
      ++tokens_;
    }
  }
  double value() const { return tokens_ == 0 ? 0.0 : std::sqrt(sum_ / static_cast<double>(tokens_)); }

 private:
  double sum_ = 0.0;
  std::int64_t tokens_ = 0;
};

bool is_int8(const PlannedModule& module) {
  return module.kind == PlannedModule::Kind::kStatic || module.kind == PlannedModule::Kind::kDynamic;
}

WorkingLayer read_tensors(const SourceReader& source, const std::vector<std::string>& names) {
  WorkingLayer out(source.checkpoint().config());
  out.read(source, names);
  return out;
}

// Largest, root mean square and share of clipped values of the latent, over the tokens that count.
struct LatentStatistics {
  double amax = 0.0, rms = 0.0, clipped = 0.0;
};

LatentStatistics latent_statistics(const AttentionActivations& activations, float k_scale) {
  const std::int64_t rank = activations.run().config().kv_lora_rank;
  double sum = 0.0, count = 0.0, clipped = 0.0;
  float amax = 0.0F;
  activations.for_each_step(
      [&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts) {
        for (std::int64_t t = 0; t < step.tokens(); ++t) {
          if (counts[static_cast<std::size_t>(t)] == 0) continue;
          for (const float c : s.kv.view().row_span(t).first(static_cast<std::size_t>(rank))) {
            amax = std::max(amax, std::fabs(c));
            sum += double{c} * c;
            const float code = std::nearbyint(c / k_scale);
            clipped += code > 127.0F || code < -128.0F ? 1.0 : 0.0;
          }
          count += static_cast<double>(rank);
        }
      });
  if (count == 0.0) return {};
  return {amax, std::sqrt(sum / count), clipped / count};
}

// "attention", "MLP", "experts 32 to 63", "embed_tokens".
std::string part_name(std::span<const PlannedModule* const> modules) {
  const PlannedModule &first = *modules.front(), &last = *modules.back();
  if (first.part == Part::kExpert) return fmt::format("experts {} to {}", first.expert, last.expert);
  if (first.part == Part::kAttention) return "attention";
  if (first.part == Part::kMlp) return "MLP";
  std::string name = first.name;
  if (name.ends_with(".weight")) name.resize(name.rfind('.'));
  return name.substr(name.rfind('.') + 1);
}

// How many of the first modules are written together: those of the same part of a layer.
std::size_t group_size(std::span<const PlannedModule* const> modules) {
  std::size_t size = 1;
  while (size < modules.size() && size < kStreamedModules && modules[size]->part == modules[0]->part &&
         modules[0]->part != Part::kOther)
    ++size;
  return size;
}

void prefetch(const SourceReader& source, std::span<const PlannedModule* const> modules) {
  for (const PlannedModule* module : modules)
    for (const std::string& name : source_names(source.checkpoint(), *module))
      source.prefetch(name, 0, static_cast<std::int64_t>(source.checkpoint().get(name).bytes.size()));
}

}  // namespace

std::int64_t source_bytes(const Checkpoint& source, const PlannedModule& module) {
  std::int64_t sum = 0;
  for (const std::string& name : source_names(source, module))
    sum += static_cast<std::int64_t>(source.get(name).bytes.size());
  return sum;
}

std::int64_t source_bytes(const Checkpoint& source, std::span<const PlannedModule* const> modules) {
  std::int64_t sum = 0;
  for (const PlannedModule* module : modules) sum += source_bytes(source, *module);
  return sum;
}

void stream_modules(const PipelineContext& context, std::span<const PlannedModule* const> modules) {
  const LayerQuantizer quantizer(context.source, context.dtype, context.pool, context.writer);
  while (!modules.empty()) {
    const std::size_t size = group_size(modules);
    const auto group = modules.first(size);
    modules = modules.subspan(size);
    prefetch(context.source, modules.first(std::min(kStreamedModules, modules.size())));
    context.progress(Stage::kQuantize, part_name(group), 0);
    quantizer.write(group);
    context.progress(Stage::kQuantize, part_name(group), source_bytes(context.source.checkpoint(), group));
  }
}

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
}

void LayerPipeline::attention(const ActivationStore& x, ActivationStore& next) {
  context_.progress(Stage::kCalibrate, "attention", 0);
  const auto attention = modules(Part::kAttention);
  working_.read(context_.source, names(attention));
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
  working_.drop(names(attention));
}

// Linears that read the same input share its Hessian, of which one is in memory at a time.
void LayerPipeline::write_attention(const Checkpoint& tensors, const AttentionActivations& activations) {
  LayerObservers observers = observe(tensors, activations);
  const std::array<Matrix<float> Scratch::*, 3> inputs{&Scratch::h, &Scratch::c_q,
                                                       &Scratch::o};  // by InputKind
  std::vector<const PlannedModule*> others = modules(Part::kAttention);
  for (std::size_t kind = 0; kind < inputs.size(); ++kind) {
    std::vector<const PlannedModule*> readers;
    for (const PlannedModule* module : others)
      if (is_int8(*module) && input_kind(module->name) == static_cast<InputKind>(kind))
        readers.push_back(module);
    if (readers.empty()) continue;
    std::erase_if(others, [&](const PlannedModule* module) {
      return std::find(readers.begin(), readers.end(), module) != readers.end();
    });
    Hessian hessian((run_.scratch().*inputs[kind]).cols());
    activations.for_each_step(
        [&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts) {
          hessian.add(run_.ctx(), (s.*inputs[kind]).view().row_range(0, step.tokens()), counts);
        });
    observers.factors[kind] = hessian.factor(run_.ctx(), kDamping);
    write(readers, tensors, observers);
    observers.factors[kind].reset();
  }
  write(others, tensors, observers);
}

std::span<const std::uint8_t> LayerPipeline::counts_of(const CalibrationStep& step) const {
  return unit_.kind == PlannedUnit::Kind::kMtp ? step.next_counts : step.counts;
}

void LayerPipeline::mlp(ActivationStore& next, bool output_needed) {
  context_.progress(Stage::kCalibrate, "MLP", 0);
  const auto common = modules(Part::kMlp), experts = modules(Part::kExpert);
  working_.read(context_.source, names(common));
  prefetch(context_.source, std::span(experts).first(std::min(experts.size(), kStreamedModules)));
  MlpActivations input{
      ActivationStore::temporary(context_.budget, context_.spill, run_.tokens(), run_.config().hidden_size),
      {}};
  std::optional<Hessian> of_h, of_down;
  DownError error;
  {
    const Checkpoint tensors = working_.checkpoint();
    WeightStorage storage;
    LoadOptions options;
    options.routed_experts = false;
    LayerWeights weights;
    load_mlp_half(tensors, unit_.layer, options, storage, weights);
    const bool rounds = std::any_of(common.begin(), common.end(), [](const auto* m) { return is_int8(*m); });
    run_common_mlp(run_, weights, next, input,
                   [&](const CalibrationStep& step, ConstMat<float> h, ConstMat<float> down_input) {
                     if (!rounds) return;
                     if (!of_h) of_h.emplace(h.cols);
                     if (!of_down) of_down.emplace(down_input.cols);
                     of_h->add(run_.ctx(), h, counts_of(step));
                     of_down->add(run_.ctx(), down_input, counts_of(step));
                     if (weights.mlp) error.add(run_, weights.mlp->down_proj, down_input, counts_of(step));
                   });
  }
  decide_mlp(input);
  fall_back_dense(error.value());
  context_.progress(Stage::kQuantize, "MLP", 0);
  LayerObservers observers;
  if (of_h) observers.factors[static_cast<std::size_t>(InputKind::kMlp)] = of_h->factor(run_.ctx(), kDamping);
  if (of_down)
    observers.factors[static_cast<std::size_t>(InputKind::kDown)] = of_down->factor(run_.ctx(), kDamping);
  write(common, working_.checkpoint(), observers);
  working_.drop(names(common));
  if (experts.empty()) return;
  if (output_needed)
    run_experts(input, next);
  else
    stream_modules(context_, experts);
  if (output_needed && !all_finite(run_, next)) refuse_values_that_are_not_finite();
}

// One group is read while the one before it runs.
void LayerPipeline::run_experts(const MlpActivations& input, ActivationStore& next) {
  const auto experts = modules(Part::kExpert);
  const std::int64_t count = run_.config().n_routed_experts;
  const std::int64_t bytes = source_bytes(context_.source.checkpoint(), experts);
  const std::int64_t size = std::clamp<std::int64_t>(
      std::min(kLargestGroup, context_.budget.left() / 2) / std::max<std::int64_t>(1, bytes / count), 1,
      count);
  const auto read_group = [&](std::int64_t begin) {
    std::vector<const PlannedModule*> group;
    for (const PlannedModule* module : experts)
      if (module->expert >= begin && module->expert < begin + size) group.push_back(module);
    return std::async(std::launch::async, read_tensors, std::cref(context_.source), names(group));
  };
  std::future<WorkingLayer> ahead = read_group(0);
  for (std::int64_t begin = 0; begin < count; begin += size) {
    const WorkingLayer group = ahead.get();
    if (begin + size < count) ahead = read_group(begin + size);
    run_expert_group(begin, std::min(begin + size, count), group, input, next);
  }
}

void LayerPipeline::run_expert_group(std::int64_t begin, std::int64_t end, const WorkingLayer& group,
                                     const MlpActivations& input, ActivationStore& next) {
  const std::string part =
      fmt::format("experts {} to {} of {}", begin, end - 1, run_.config().n_routed_experts);
  context_.progress(Stage::kCalibrate, part, 0);
  const Checkpoint tensors = group.checkpoint();
  const LayerQuantizer quantizer(tensors, context_.dtype, context_.pool, context_.writer);
  std::vector<const PlannedModule*> members;
  for (const PlannedModule* module : modules(Part::kExpert))
    if (module->expert >= begin && module->expert < end) members.push_back(module);
  quantizer.write(members);
  context_.progress(Stage::kQuantize, part, source_bytes(tensors, members));
  for (std::int64_t expert = begin; expert < end; ++expert) {
    WeightStorage storage;
    run_expert(run_, load_expert(tensors, unit_.layer, expert, storage), expert, input, next);
  }
}

void LayerPipeline::decide_attention(AttentionActivations& activations, const ActivationStore& next) {
  const LatentStatistics latent = latent_statistics(activations, 1.0F);
  report_.latent_amax = report_.stored_amax = latent.amax;
  report_.latent_rms = report_.stored_rms = latent.rms;
  if (!unit_.fa) return;
  context_.progress(Stage::kCalibrate, "latent", 0);
  const std::string name = fmt::format("model.layers.{}.self_attn", unit_.layer);
  const LatentChoices choices = latent_choices();
  latent_ = choose_latent(working_, name, unit_.layer, activations, next, choices);
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
  take_fold(working_, name, unit_.layer, latent_->fold, choices, activations);
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
  return {context_.options.rotate, !fixed, float_weights, context_.dtype};
}

void LayerPipeline::decide_mlp(const MlpActivations& input) {
  if (!input.routing.expert.empty()) report_idle_experts(input);
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
        observers.observe(s, run_.config(), step.tokens(), counts);
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

void LayerPipeline::report_idle_experts(const MlpActivations& input) {
  const std::int64_t count = run_.config().n_routed_experts;
  std::vector<std::uint8_t> chosen(static_cast<std::size_t>(count));
  for (const std::int32_t expert : input.routing.expert) chosen[static_cast<std::size_t>(expert)] = 1;
  const std::int64_t idle = std::count(chosen.begin(), chosen.end(), 0);
  if (idle == 0) return;
  const std::string text = fmt::format("layer {}: {} of {}", unit_.layer, idle, count);
  for (std::string& warning : manifest_.result.warnings)
    if (warning.starts_with(kIdleExperts)) {
      warning += "; " + text;
      return;
    }
  manifest_.result.warnings.push_back(kIdleExperts + text);
}

void LayerPipeline::refuse_values_that_are_not_finite() const {
  const LayerQuantizer quantizer(context_.source, context_.dtype, context_.pool, context_.writer);
  for (const PlannedModule& module : unit_.modules) quantizer.refuse_values_that_are_not_finite(module);
  throw_error(ErrorCode::kCorrupt,
              "'{}': layer {}: finite activations expected, got NaN or Inf although its weights are finite",
              context_.source.checkpoint().dir().string(), unit_.layer);
}

std::vector<const PlannedModule*> LayerPipeline::modules(Part part) const {
  std::vector<const PlannedModule*> out;
  for (const PlannedModule& module : unit_.modules)
    if (module.part == part) out.push_back(&module);
  return out;
}

std::vector<std::string> LayerPipeline::names(const std::vector<const PlannedModule*>& modules) const {
  std::vector<std::string> out;
  for (const PlannedModule* module : modules)
    for (const std::string& name : source_names(context_.source.checkpoint(), *module)) out.push_back(name);
  return out;
}

void LayerPipeline::write(const std::vector<const PlannedModule*>& modules, const Checkpoint& tensors,
                          const LayerObservers& observers) {
  LayerQuantizer(tensors, context_.dtype, context_.pool, context_.writer).write(modules, observers);
  context_.progress(Stage::kQuantize, part_name(modules),
                    source_bytes(context_.source.checkpoint(), modules));
}

}  // namespace latent8
