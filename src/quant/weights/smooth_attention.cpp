#include <algorithm>

#include "formats/layer_schema.h"
#include "quant/layer/layer_quantizer.h"
#include "quant/weights/rounding.h"
#include "quant/weights/smoothing.h"

namespace latent8 {
namespace {

// What an input is made by and read by.
struct Group {
  InputKind kind;
  Matrix<float> Scratch::* input;
  std::string source;                // a norm's weight, or kv_b_proj's
  std::vector<std::string> readers;  // weights that become int8
  std::vector<std::string> others;   // that read it too and stay float: they take what the readers choose
};

std::vector<Group> groups_of(const WorkingLayer& working, const ModelConfig& config, std::int64_t layer,
                             std::span<const PlannedModule* const> attention, QuantizeOptions::Anti anti) {
  if (anti == QuantizeOptions::Anti::kNone) return {};
  const LayerSchema schema = layer_schema(config, layer);
  std::vector<Group> all{{InputKind::kHidden, &Scratch::h, schema.weight(TensorRole::kInputNorm), {}, {}}};
  if (anti == QuantizeOptions::Anti::kM6) {
    if (const TensorSchema* norm = schema.find(TensorRole::kQANorm))
      all.push_back({InputKind::kCQ, &Scratch::c_q, schema.weight(*norm), {}, {}});
    all.push_back({InputKind::kO, &Scratch::o, schema.weight(TensorRole::kKvBProj), {}, {}});
  }
  using ModuleKind = PlannedModule::Kind;
  for (const PlannedModule* module : attention)
    for (Group& group : all) {
      if (group.kind != module->input) continue;
      if (module->kind == ModuleKind::kStatic || module->kind == ModuleKind::kDynamic)
        group.readers.push_back(module->name + ".weight");
      else if (module->kind == ModuleKind::kFloat && module->name.ends_with(".weight"))
        group.others.push_back(module->name);
    }
  std::erase_if(all, [&](const Group& group) { return group.readers.empty() || !working.has(group.source); });
  return all;
}

// Evenly spaced rows of the readers' weights.
Matrix<float> sample_weights(const WorkingLayer& working, const std::vector<std::string>& readers) {
  const Checkpoint view = working.checkpoint();
  std::vector<SourceTensor> tensors;
  std::int64_t rows = 0;
  for (const std::string& name : readers) {
    tensors.emplace_back(view, name);
    rows += std::min(kSmoothingRows, tensors.back().rows());
  }
  Matrix<float> out(rows, tensors[0].cols());
  std::int64_t at = 0;
  for (const SourceTensor& tensor : tensors) {
    const std::int64_t count = std::min(kSmoothingRows, tensor.rows());
    for (std::int64_t i = 0; i < count; ++i) tensor.read_row(i * tensor.rows() / count, out.row(at++));
  }
  return out;
}

// Evenly spaced tokens among those that count.
Matrix<float> sample_input(const AttentionActivations& activations, const Group& group) {
  std::int64_t all = 0;
  for (const CalibrationStep& step : activations.run().steps()) {
    const std::vector<std::uint8_t>& counts = activations.counts_of(step).smoothing;
    all += std::count(counts.begin(), counts.end(), 1);
  }
  const std::int64_t count = std::min(kSmoothingTokens, all);
  Matrix<float> out(count, (activations.run().scratch().*group.input).cols());
  std::int64_t seen = 0, at = 0;
  activations.for_each_step([&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t>) {
    const std::vector<std::uint8_t>& counts = activations.counts_of(step).smoothing;
    for (std::int64_t t = 0; t < step.tokens(); ++t) {
      if (counts[static_cast<std::size_t>(t)] == 0) continue;
      if (at < count && seen == at * all / count)
        std::copy_n((s.*group.input).row(t), out.cols(), out.row(at++));
      ++seen;
    }
  });
  return out;
}

// Divides what makes the input. Channels of a source that is not exact any more get a scale of 1 first.
class SourceScale {
 public:
  SourceScale(WorkingLayer& working, const ModelConfig& config, const Group& group, DType type)
      : working_(working),
        config_(config),
        group_(group),
        type_(type),
        values_(working.values(group.source)) {}

  void keep_exact(std::vector<float>& scale) {
    for_each([&](float value, std::size_t c) {
      const float stored = round_to(type_, value);
      if (round_to(type_, stored / scale[c]) * scale[c] != stored) scale[c] = 1.0F;
      return value;
    });
  }
  void divide(const std::vector<float>& scale) {
    for_each([&](float value, std::size_t c) { return value / scale[c]; });
    working_.replace(group_.source,
                     {values_.row(0), static_cast<std::size_t>(values_.rows() * values_.cols())});
  }

 private:
  // value = change(value, channel)
  template <class Change>
  void for_each(const Change& change) {
    if (group_.kind != InputKind::kO) {
      for (std::size_t c = 0; c < values_.view().row_span(0).size(); ++c)
        values_.row(0)[c] = change(values_.row(0)[c], c);
      return;
    }
    const std::int64_t nope = config_.qk_nope_head_dim, v = config_.v_head_dim;
    for (std::int64_t c = 0; c < config_.num_attention_heads * v; ++c)
      for (float& value : values_.view().row_span(c / v * (nope + v) + nope + c % v))
        value = change(value, static_cast<std::size_t>(c));
  }

  WorkingLayer& working_;
  const ModelConfig& config_;
  const Group& group_;
  DType type_;
  Matrix<float> values_;
};

void multiply_columns(WorkingLayer& working, const std::string& name, const std::vector<float>& scale) {
  Matrix<float> values = working.values(name);
  for (std::int64_t r = 0; r < values.rows(); ++r)
    for (std::size_t c = 0; c < scale.size(); ++c) values.row(r)[c] *= scale[c];
  working.replace(name, {values.row(0), static_cast<std::size_t>(values.rows() * values.cols())});
}

// "input_layernorm", "kv_b_proj"
std::string short_name(const std::string& weight) {
  const std::string module = weight.substr(0, weight.rfind('.'));
  return module.substr(module.rfind('.') + 1);
}

}  // namespace

std::vector<LayerReport::Smoothed> smooth_attention(WorkingLayer& working, std::int64_t layer,
                                                    std::span<const PlannedModule* const> attention,
                                                    QuantizeOptions::Anti anti, const SmoothingTarget& target,
                                                    AttentionActivations& activations) {
  CalibrationRun& run = activations.run();
  std::vector<LayerReport::Smoothed> done;
  std::vector<std::pair<Matrix<float> Scratch::*, std::vector<float>>> scales;
  for (const Group& group : groups_of(working, run.config(), layer, attention, anti)) {
    Smoothing best = choose_smoothing(run.ctx(), sample_input(activations, group).view(),
                                      sample_weights(working, group.readers).view(), target);
    if (best.scale.empty()) continue;
    SourceScale source(working, run.config(), group, target.dtype);
    source.keep_exact(best.scale);
    if (std::all_of(best.scale.begin(), best.scale.end(), [](float s) { return s == 1.0F; })) continue;
    source.divide(best.scale);
    for (const auto* names : {&group.readers, &group.others})
      for (const std::string& name : *names) multiply_columns(working, name, best.scale);
    done.push_back({short_name(group.source), best.alpha, best.beta, best.error});
    scales.emplace_back(group.input, std::move(best.scale));
  }
  if (scales.empty()) return done;
  activations.update_each_step([&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t>) {
    for (const auto& [input, scale] : scales)
      for (std::int64_t t = 0; t < step.tokens(); ++t)
        for (std::size_t c = 0; c < scale.size(); ++c) (s.*input).row(t)[c] /= scale[c];
  });
  return done;
}

}  // namespace latent8
