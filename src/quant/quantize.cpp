#include "latent8/quantize.h"

#include <algorithm>
#include <map>
#include <memory>

#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/checkpoint.h"
#include "formats/files.h"
#include "formats/layer_schema.h"
#include "formats/model_family.h"
#include "quant/calibrate/calibration.h"
#include "quant/calibrate/mtp_stream.h"
#include "quant/calibrate/source_embedding.h"
#include "quant/compat/compat.h"
#include "quant/layer/layer_pipeline.h"
#include "quant/output/checkpoint_layout.h"
#include "quant/output/checkpoint_writer.h"
#include "quant/output/resumable_run.h"
#include "quant/plan/memory_plan.h"
#include "quant/plan/run_inputs.h"
#include "source/file_watch.h"
#include "source/float_checkpoint.h"
#include "source/rotated_source.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

using Stage = QuantizeProgress::Stage;
using Unit = PlannedUnit::Kind;

Checkpoint open_source(const QuantizeOptions& options) {
  if (options.weights == QuantizeOptions::Weights::kFloat && !options.fa_quant)
    throw_error(ErrorCode::kInvalidArgument,
                "float weights without scales of the int8 cache are the source itself: ask for those "
                "scales or for w8a8 weights");
  if (options.weights == QuantizeOptions::Weights::kFloat && options.dynamic)
    throw_error(ErrorCode::kInvalidArgument,
                "inputs quantised per token need w8a8 weights, got float weights");
  if (options.weights == QuantizeOptions::Weights::kFloat && options.rotate_model)
    throw_error(ErrorCode::kInvalidArgument,
                "rotations of the model (--rot) need w8a8 weights, got float weights");
  if (options.mtp == QuantizeOptions::Mtp::kFloat && options.rotate_model)
    throw_error(ErrorCode::kInvalidArgument,
                "rotations of the model (--rot) with an MTP layer in float: it would read what is rotated; "
                "quantise it (mix) or leave it out (none)");
  return open_float_source(options);
}

// nullptr: the model is not rotated.
std::unique_ptr<const RotatedSource> rotated_source(const QuantizeOptions& options,
                                                    const SourceReader& reader) {
  if (!options.rotate_model) return nullptr;
  auto rotated = std::make_unique<const RotatedSource>(reader);
  if (options.mtp != QuantizeOptions::Mtp::kNone) rotated->check_mtp_head();
  return rotated;
}

// The calibration prompts, if anything has to be observed.
std::vector<CalibrationPrompt> prompts_for(const QuantizeOptions& options, const ModelConfig& config,
                                           const CheckpointPlan& plan) {
  if (!plan.needs_calibration()) return {};
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  const std::vector<std::string> prompts = read_prompts(options.calib);
  const bool smoothing =
      options.anti != QuantizeOptions::Anti::kNone && options.weights == QuantizeOptions::Weights::kW8A8;
  if (!smoothing || options.anti_calib.empty()) return tokenize_prompts(tokenizer, config, prompts);
  return tokenize_prompts(tokenizer, config, prompts, read_prompts(options.anti_calib));
}

MemoryNeeds memory_needs(const QuantizeOptions& options, const std::vector<CalibrationPrompt>& prompts,
                         int threads) {
  MemoryNeeds needs{options.max_memory, 0, threads, options.anti};
  for (const CalibrationPrompt& prompt : prompts)
    needs.longest_prompt = std::max(needs.longest_prompt, static_cast<std::int64_t>(prompt.ids.size()));
  return needs;
}

// The units of the plan one after the other, run over the prompts as far as they need that.
class Pipeline {
 public:
  explicit Pipeline(const QuantizeOptions& options)
      : options_(options),
        watch_(options.model),
        stored_(open_source(options)),
        reader_(stored_),
        rotated_(rotated_source(options, reader_)),
        plan_(plan_checkpoint(source().checkpoint(), options)),
        prompts_(prompts_for(options, config(), plan_)),
        pool_(options.threads),
        memory_(plan_memory(source(), plan_, memory_needs(options, prompts_, pool_.threads()))),
        budget_(memory_.budget),
        run_(options, watch_, beginning()) {
    for (const std::string& name : run_.manifest().fallbacks) fall_back(name);
    for (std::size_t i = 0; i < plan_.units.size(); ++i) {
      const std::int64_t bytes = bytes_of(plan_.units[i]);
      total_bytes_ += bytes;
      if (static_cast<std::int64_t>(i) >= run_.manifest().finished) continue;
      done_bytes_ += bytes;
      result().resumed_layers += plan_.units[i].kind == Unit::kLayer ? 1 : 0;
    }
  }

  QuantizeResult run() {
    if (const auto result = run_.completed()) return *result;
    run_.start_writing(shard_layout(plan_, options_));
    const auto units = static_cast<std::int64_t>(plan_.units.size());
    if (plan_.needs_calibration() && run_.manifest().finished < units)
      calibration_ = std::make_unique<CalibrationRun>(config(), pool_, prompts_, memory_.step_tokens);
    run_.write_units(units, [this](std::int64_t unit) { write_unit(unit); });
    unit_ = nullptr;
    return finish();
  }

 private:
  const ModelConfig& config() const { return stored_.config(); }
  const TensorSource& source() const {  // what is quantised
    if (rotated_) return *rotated_;
    return reader_;
  }
  QuantizeResult& result() { return run_.result(); }

  std::int64_t bytes_of(const PlannedUnit& unit) const {
    std::int64_t sum = 0;
    for (const PlannedModule& module : unit.modules) sum += source_bytes(stored_, module);
    return sum;
  }

  // What an earlier run decided.
  void fall_back(const std::string& name) {
    for (PlannedUnit& unit : plan_.units)
      for (PlannedModule& module : unit.modules)
        if (module.fallback && module.name == name) {
          if (module.kind == PlannedModule::Kind::kFaScales) unit.fa = false;
          module.fall_back();
        }
  }

  // What decides the result, and what is known of it before it is made.
  Manifest beginning() const {
    Manifest out;
    out.inputs =
        run_inputs(options_, reader_, {plan_.layers, plan_.float_cache, /*calibrated=*/!prompts_.empty()});
    QuantizeResult& result = out.result;
    result.layers = plan_.layers;
    result.fa_layers = plan_.fa_layers();
    result.mtp = plan_.has(Unit::kMtp) || plan_.has(Unit::kMtpFloat);
    for (const CalibrationPrompt& prompt : prompts_) {
      if (!prompt.statistics) continue;
      ++result.prompts;
      result.tokens += std::count(prompt.counts.begin(), prompt.counts.end(), 1);
    }
    for (const auto& [name, view] : stored_.tensors()) result.bytes_in += view.size_bytes();
    if (!plan_.float_cache.empty())
      result.warnings.push_back(
          fmt::format("layers that keep a float cache, by the reference's list for this model: {}",
                      fmt::join(plan_.float_cache, ", ")));
    if (options_.mtp != QuantizeOptions::Mtp::kNone && !result.mtp && config().num_nextn_predict_layers > 0)
      result.warnings.push_back(plan_.layers < config().num_hidden_layers
                                    ? "the MTP layer is left out: it needs all decoder layers"
                                    : "the source has no tensors of the MTP layer: it is left out");
    return out;
  }

  void write_unit(std::int64_t index) {
    unit_ = &plan_.units[static_cast<std::size_t>(index)];
    // Whether a later unit is run over the prompts.
    const bool output_needed = std::any_of(plan_.units.begin() + index + 1, plan_.units.end(),
                                           [](const PlannedUnit& unit) { return unit.needs_calibration(); });
    LayerReport report;
    report.mtp = unit_->kind == Unit::kMtp;
    report.layer = unit_->layer;
    if (unit_->kind == Unit::kEmbedding) {
      stream_all();
      if (calibration_) embed();
    } else if (calibration_ && unit_->layer >= 0 && (unit_->needs_calibration() || output_needed)) {
      run_layer(report, output_needed);
    } else {
      stream_all();
    }
    if (unit_->layer < 0) return;
    add_report(std::move(report));
    run_.drop_border(unit_->layer);
  }

  PipelineContext context() {
    return {options_,
            source(),
            plan_.dtype,
            pool_,
            run_.writer(),
            budget_,
            run_.state(),
            [this](Stage stage, const std::string& part, std::int64_t bytes) { report(stage, part, bytes); }};
  }

  void stream_all() {
    std::vector<const PlannedModule*> modules;
    for (const PlannedModule& module : unit_->modules) modules.push_back(&module);
    stream_modules(context(), modules);
  }

  ActivationStore stream_entering(std::int64_t layer) const {
    return ActivationStore::existing(run_.border(layer), calibration_->tokens(), config().hidden_size);
  }
  ActivationStore stream_leaving(std::int64_t layer) {
    return ActivationStore::within(budget_, run_.border(layer + 1), calibration_->tokens(),
                                   config().hidden_size);
  }

  void embed() {
    const SourceEmbedding table(source(), outside_schema(config()).weight(TensorRole::kEmbedTokens),
                                config());
    ActivationStore x = stream_leaving(-1);
    std::vector<float> row(static_cast<std::size_t>(config().hidden_size));
    for (const CalibrationStep& step : calibration_->steps())
      for (std::int64_t t = 0; t < step.tokens(); ++t) {
        table.read_row(step.batch.token_ids[static_cast<std::size_t>(t)], row);
        x.write_row(step.begin + t, row.data());
      }
    x.save(run_.border(0));
  }

  void run_layer(LayerReport& report, bool output_needed) {
    const PipelineContext pipeline = context();
    ActivationStore x = stream_entering(unit_->layer);
    if (unit_->kind == Unit::kMtp) x = mtp_stream(pipeline, *calibration_, x);
    ActivationStore next = stream_leaving(unit_->layer);
    LayerPipeline(pipeline, *calibration_, *unit_, report, run_.manifest()).run(x, next, output_needed);
    if (output_needed) next.save(run_.border(unit_->layer + 1));
  }

  void add_report(LayerReport report) {
    report.bytes_in = bytes_of(*unit_);
    std::map<std::string, std::int64_t> types;
    for (const PlannedModule& module : unit_->modules)
      for (const PlannedTensor& planned : module.tensors)
        types[std::string(to_string(planned.type))] += planned.tensor.bytes();
    report.tensors.assign(types.begin(), types.end());
    for (const auto& [type, bytes] : types) report.bytes_out += bytes;
    report.seconds = run_.seconds_of_unit();
    result().per_layer.push_back(std::move(report));
  }

  QuantizeResult finish() {
    report(Stage::kFinish, "", 0);
    result().fa_layers = plan_.fa_layers();
    ResumableRun::Ending ending;
    ending.tensors = tensors_of(plan_);
    ending.files = [this](const std::filesystem::path& dir) { write_files(dir); };
    ending.progress = [this](std::int64_t done, std::int64_t of) {
      report(Stage::kFinish, fmt::format("checksums, {} of {} files", done, of), 0);
    };
    return run_.finish(ending, pool_);
  }

  void write_files(const std::filesystem::path& dir) {
    CopiedFiles files = copy_other_files(options_.model, dir, /*as_reference=*/false);
    result().copied = std::move(files.copied);
    constexpr const char* kLeftOut = "not copied from the source: ";
    std::erase_if(result().warnings, [&](const std::string& w) { return w.starts_with(kLeftOut); });
    if (!files.left_out.empty())
      result().warnings.push_back(fmt::format("{}{}", kLeftOut, fmt::join(files.left_out, ", ")));
    const MadeModel made{plan_.dtype, plan_.layers,
                         plan_.has(Unit::kMtp) && options_.weights == QuantizeOptions::Weights::kW8A8};
    write_description(dir, described_tensors(plan_), options_);
    write_file_atomically(
        dir / "config.json",
        quantized_config(language_model_config(read_text_file(options_.model / "config.json")), config(),
                         made, options_));
  }

  void report(Stage stage, const std::string& part, std::int64_t bytes) {
    done_bytes_ += bytes;
    if (!options_.progress) return;
    const std::int64_t layers = plan_.layers + (plan_.has(Unit::kMtp) ? 1 : 0);
    std::int64_t layer = layers;
    if (unit_ != nullptr && unit_->kind == Unit::kEmbedding) layer = 0;
    if (unit_ != nullptr && unit_->layer >= 0) layer = unit_->layer;
    options_.progress({stage, layer, layers, part, done_bytes_, total_bytes_});
  }

  const QuantizeOptions& options_;
  const FileWatch watch_;  // before anything is read
  const Checkpoint stored_;
  const SourceReader reader_;
  const std::unique_ptr<const RotatedSource> rotated_;
  CheckpointPlan plan_;
  const std::vector<CalibrationPrompt> prompts_;
  ThreadPool pool_;
  const MemoryPlan memory_;
  MemoryBudget budget_;
  ResumableRun run_;
  std::unique_ptr<CalibrationRun> calibration_;  // none if nothing has to be observed
  PlannedUnit* unit_ = nullptr;                  // that is being written
  std::int64_t done_bytes_ = 0, total_bytes_ = 0;
};

}  // namespace

QuantizeResult quantize(const QuantizeOptions& options) {
  if (options.compat == QuantizeOptions::Compat::kMsmodelslim)
    return compat::quantize_as_msmodelslim(options);
  return Pipeline(options).run();
}

}  // namespace latent8
