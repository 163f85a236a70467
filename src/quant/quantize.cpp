#include "latent8/quantize.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/checkpoint.h"
#include "formats/files.h"
#include "formats/layer_schema.h"
#include "formats/model_family.h"
#include "quant/calibrate/calibration.h"
#include "quant/calibrate/mtp_stream.h"
#include "quant/compat/compat.h"
#include "quant/layer/layer_pipeline.h"
#include "quant/output/checkpoint_writer.h"
#include "quant/output/manifest.h"
#include "quant/output/output_folder.h"
#include "quant/output/resume.h"
#include "quant/plan/memory_plan.h"
#include "quant/plan/run_inputs.h"
#include "source/float_checkpoint.h"
#include "source/rotated_source.h"
#include "sys/topology.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

using Stage = QuantizeProgress::Stage;
using Unit = PlannedUnit::Kind;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

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
  return open_float_checkpoint(options.model);
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

// One run: the units of the plan one after the other. After each, everything that a later run needs to go on
// is on the disk.
class Pipeline {
 public:
  explicit Pipeline(const QuantizeOptions& options)
      : options_(options),
        stored_(open_source(options)),
        reader_(stored_),
        rotated_(rotated_source(options, reader_)),
        plan_(plan_checkpoint(source().checkpoint(), options)),
        prompts_(prompts_for(options, config(), plan_)),
        pool_(options.threads),
        memory_(plan_memory(source(), plan_, memory_needs(options, prompts_, pool_.threads()))),
        budget_(memory_.budget),
        folder_(options.model, options.out, options.overwrite, OutputFolder::Earlier::kKeep) {
    for (const PlannedUnit& unit : plan_.units) total_bytes_ += bytes_of(unit);
    begin();
  }

  QuantizeResult run() {
    if (folder_.completed()) {
      folder_.commit();
      return manifest_.result;
    }
    writer_ = std::make_unique<ShardWriter>(
        folder_.partial(), folder_.state(), plan_,
        ShardWriterOptions{weight_kind(options_), options_.shard_bytes, /*resume=*/manifest_.finished > 0});
    if (plan_.needs_calibration() && manifest_.finished < units())
      calibration_ = std::make_unique<CalibrationRun>(config(), pool_, prompts_, memory_.step_tokens);
    while (manifest_.finished < units()) {
      unit_ = &plan_.units[static_cast<std::size_t>(manifest_.finished)];
      write_unit();
      finish_unit();
    }
    unit_ = nullptr;
    report(Stage::kFinish, "", 0);
    finish();
    return manifest_.result;
  }

 private:
  const ModelConfig& config() const { return stored_.config(); }
  const TensorSource& source() const {  // what is quantised
    if (rotated_) return *rotated_;
    return reader_;
  }
  std::int64_t units() const { return static_cast<std::int64_t>(plan_.units.size()); }
  QuantizeResult& result() { return manifest_.result; }

  std::int64_t bytes_of(const PlannedUnit& unit) const {
    std::int64_t sum = 0;
    for (const PlannedModule& module : unit.modules) sum += source_bytes(stored_, module);
    return sum;
  }

  // Finds what an earlier run left, or begins afresh.
  void begin() {
    manifest_.inputs =
        run_inputs(options_, reader_, {plan_.layers, plan_.float_cache, /*calibrated=*/!prompts_.empty()});
    manifest_ = resume_or_begin(folder_, std::move(manifest_), options_.resume);
    if (manifest_.finished == 0) describe_result();
    for (const std::string& name : manifest_.fallbacks) fall_back(name);
    for (std::int64_t i = 0; i < manifest_.finished; ++i) {
      const PlannedUnit& unit = plan_.units[static_cast<std::size_t>(i)];
      done_bytes_ += bytes_of(unit);
      result().resumed_layers += unit.kind == Unit::kLayer ? 1 : 0;
    }
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

  // What is known of the result before it is made.
  void describe_result() {
    result().layers = plan_.layers;
    result().fa_layers = plan_.fa_layers();
    result().mtp = plan_.has(Unit::kMtp) || plan_.has(Unit::kMtpFloat);
    for (const CalibrationPrompt& prompt : prompts_) {
      if (!prompt.statistics) continue;
      ++result().prompts;
      result().tokens += std::count(prompt.counts.begin(), prompt.counts.end(), 1);
    }
    for (const auto& [name, view] : stored_.tensors()) result().bytes_in += view.size_bytes();
    if (!plan_.float_cache.empty())
      result().warnings.push_back(
          fmt::format("layers that keep a float cache, by the reference's list for this model: {}",
                      fmt::join(plan_.float_cache, ", ")));
    if (options_.mtp != QuantizeOptions::Mtp::kNone && !result().mtp && config().num_nextn_predict_layers > 0)
      result().warnings.push_back(plan_.layers < config().num_hidden_layers
                                      ? "the MTP layer is left out: it needs all decoder layers"
                                      : "the source has no tensors of the MTP layer: it is left out");
  }

  void write_unit() {
    start_ = std::chrono::steady_clock::now();
    LayerReport report;
    report.mtp = unit_->kind == Unit::kMtp;
    report.layer = unit_->layer;
    if (unit_->kind == Unit::kEmbedding) {
      stream_all();
      if (calibration_) embed();
    } else if (calibration_ && unit_->layer >= 0 && (unit_->needs_calibration() || output_needed())) {
      run_layer(report);
    } else {
      stream_all();
    }
    if (unit_->layer >= 0) add_report(std::move(report));
  }

  PipelineContext context() {
    return {options_,
            source(),
            plan_.dtype,
            pool_,
            *writer_,
            budget_,
            folder_.state(),
            [this](Stage stage, const std::string& part, std::int64_t bytes) { report(stage, part, bytes); }};
  }

  void stream_all() {
    std::vector<const PlannedModule*> modules;
    for (const PlannedModule& module : unit_->modules) modules.push_back(&module);
    stream_modules(context(), modules);
  }

  // Whether a later unit is run over the prompts.
  bool output_needed() const {
    return std::any_of(plan_.units.begin() + manifest_.finished + 1, plan_.units.end(),
                       [](const PlannedUnit& unit) { return unit.needs_calibration(); });
  }

  // The residual stream that enters a layer.
  std::filesystem::path border(std::int64_t layer) const {
    return folder_.state() / fmt::format("activations-{}.bin", layer);
  }
  ActivationStore stream_entering(std::int64_t layer) const {
    return ActivationStore::existing(border(layer), calibration_->tokens(), config().hidden_size);
  }
  ActivationStore stream_leaving(std::int64_t layer) {
    return ActivationStore::within(budget_, border(layer + 1), calibration_->tokens(), config().hidden_size);
  }

  void embed() {
    const SourceTensor table(source(), outside_schema(config()).weight(TensorRole::kEmbedTokens));
    ActivationStore x = stream_leaving(-1);
    std::vector<float> row(static_cast<std::size_t>(table.cols()));
    for (const CalibrationStep& step : calibration_->steps())
      for (std::int64_t t = 0; t < step.tokens(); ++t) {
        table.read_row(step.batch.token_ids[static_cast<std::size_t>(t)], row.data());
        x.write_row(step.begin + t, row.data());
      }
    x.save(border(0));
  }

  void run_layer(LayerReport& report) {
    const PipelineContext pipeline = context();
    ActivationStore x = stream_entering(unit_->layer);
    if (unit_->kind == Unit::kMtp) x = mtp_stream(pipeline, *calibration_, x);
    ActivationStore next = stream_leaving(unit_->layer);
    LayerPipeline(pipeline, *calibration_, *unit_, report, manifest_).run(x, next, output_needed());
    if (output_needed()) next.save(border(unit_->layer + 1));
  }

  void add_report(LayerReport report) {
    report.bytes_in = bytes_of(*unit_);
    std::map<std::string, std::int64_t> types;
    for (const PlannedModule& module : unit_->modules)
      for (const PlannedTensor& planned : module.tensors)
        types[std::string(to_string(planned.type))] += planned.tensor.bytes();
    report.tensors.assign(types.begin(), types.end());
    for (const auto& [type, bytes] : types) report.bytes_out += bytes;
    report.seconds = seconds_since(start_);
    result().per_layer.push_back(std::move(report));
  }

  void finish_unit() {
    writer_->sync();
    reader_.check_unchanged();
    result().seconds += seconds_since(start_);
    ++manifest_.finished;
    write_manifest(folder_.state(), manifest_);
    folder_.keep();
    if (unit_->layer >= 0) std::filesystem::remove(border(unit_->layer));
  }

  void finish() {
    writer_->finish(plan_);
    result().fa_layers = plan_.fa_layers();
    write_description(folder_.partial(), plan_, options_);
    write_file_atomically(
        folder_.partial() / "config.json",
        quantized_config(language_model_config(read_text_file(options_.model / "config.json")), plan_,
                         options_));
    copy_other_files(options_.model, folder_.partial());
    result().bytes_out = writer_->total();
    result().tensors = writer_->tensors();
    result().peak_memory = peak_resident_bytes();
    write_manifest(folder_.state(), manifest_);
    folder_.commit();
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
  const Checkpoint stored_;
  const SourceReader reader_;
  const std::unique_ptr<const RotatedSource> rotated_;
  CheckpointPlan plan_;
  const std::vector<CalibrationPrompt> prompts_;
  ThreadPool pool_;
  const MemoryPlan memory_;
  MemoryBudget budget_;
  OutputFolder folder_;
  Manifest manifest_;
  std::unique_ptr<ShardWriter> writer_;
  std::unique_ptr<CalibrationRun> calibration_;  // none if nothing has to be observed
  PlannedUnit* unit_ = nullptr;                  // that is being written
  std::chrono::steady_clock::time_point start_;  // of the unit
  std::int64_t done_bytes_ = 0, total_bytes_ = 0;
};

}  // namespace

QuantizeResult quantize(const QuantizeOptions& options) {
  if (options.compat == QuantizeOptions::Compat::kMsmodelslim)
    return compat::quantize_as_msmodelslim(options);
  return Pipeline(options).run();
}

}  // namespace latent8
