#include "quant/layer_pipeline.h"

#include <algorithm>
#include <cmath>
#include <future>

#include "base/error.h"

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

LayerPipeline::LayerPipeline(const PipelineContext& context, CalibrationRun& run, const PlannedUnit& unit,
                             LayerReport& report, std::vector<std::string>& warnings)
    : context_(context),
      run_(run),
      unit_(unit),
      report_(report),
      warnings_(warnings),
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
  decide_attention(activations);
  const Checkpoint tensors = working_.checkpoint();
  const LayerObservers observers = observe(tensors, activations);
  if (observers.fa) report_latent(activations, *observers.fa);
  context_.progress(Stage::kQuantize, "attention", 0);
  write(attention, tensors, observers);
  working_.drop(names(attention));
}

void LayerPipeline::mlp(ActivationStore& next, bool output_needed) {
  context_.progress(Stage::kCalibrate, "MLP", 0);
  const auto common = modules(Part::kMlp), experts = modules(Part::kExpert);
  working_.read(context_.source, names(common));
  prefetch(context_.source, std::span(experts).first(std::min(experts.size(), kStreamedModules)));
  MlpActivations input{
      ActivationStore::temporary(context_.budget, context_.spill, run_.tokens(), run_.config().hidden_size),
      {}};
  {
    const Checkpoint tensors = working_.checkpoint();
    WeightStorage storage;
    LoadOptions options;
    options.routed_experts = false;
    LayerWeights weights;
    load_mlp_half(tensors, unit_.layer, options, storage, weights);
    run_common_mlp(run_, weights, next, input);
  }
  decide_mlp(input);
  context_.progress(Stage::kQuantize, "MLP", 0);
  write(common, working_.checkpoint(), {});
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

void LayerPipeline::decide_attention(AttentionActivations& activations) {
  const LatentStatistics latent = latent_statistics(activations, 1.0F);
  report_.latent_amax = report_.stored_amax = latent.amax;
  report_.latent_rms = report_.stored_rms = latent.rms;
}

void LayerPipeline::decide_mlp(const MlpActivations& input) {
  if (!input.routing.expert.empty()) report_idle_experts(input);
}

LayerObservers LayerPipeline::observe(const Checkpoint& tensors, const AttentionActivations& activations) {
  const LayerQuantizer quantizer(tensors, context_.dtype, context_.pool, context_.writer);
  const auto attention = modules(Part::kAttention);
  LayerObservers observers = quantizer.observers(attention);
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

void LayerPipeline::report_latent(const AttentionActivations& activations, const FaObserver& fa) {
  report_.fa = true;
  report_.fold = "none";
  report_.k_scale = fa.k_scale(context_.dtype);
  report_.clipped = latent_statistics(activations, fa.k_scale(context_.dtype)).clipped;
}

void LayerPipeline::report_idle_experts(const MlpActivations& input) {
  const std::int64_t count = run_.config().n_routed_experts;
  std::vector<std::uint8_t> chosen(static_cast<std::size_t>(count));
  for (const std::int32_t expert : input.routing.expert) chosen[static_cast<std::size_t>(expert)] = 1;
  const std::int64_t idle = std::count(chosen.begin(), chosen.end(), 0);
  if (idle == 0) return;
  const std::string text = fmt::format("layer {}: {} of {}", unit_.layer, idle, count);
  for (std::string& warning : warnings_)
    if (warning.starts_with(kIdleExperts)) {
      warning += "; " + text;
      return;
    }
  warnings_.push_back(kIdleExperts + text);
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
