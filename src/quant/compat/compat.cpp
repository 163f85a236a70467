#include "quant/compat/compat.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "formats/layer_schema.h"
#include "formats/model_family.h"
#include "quant/calibrate/calibration.h"
#include "quant/compat/calibration.h"
#include "quant/compat/layer_writer.h"
#include "quant/compat/memory.h"
#include "quant/compat/smoothing.h"
#include "quant/output/manifest.h"
#include "quant/output/output_folder.h"
#include "quant/output/resume.h"
#include "quant/plan/plan.h"
#include "quant/plan/run_inputs.h"
#include "source/float_checkpoint.h"
#include "sys/topology.h"

namespace latent8::compat {
namespace {

using Stage = QuantizeProgress::Stage;

constexpr std::int64_t kAllTokens = -1;  // instead of an expert

Checkpoint open_source(const QuantizeOptions& options) {
  if (options.weights != QuantizeOptions::Weights::kW8A8)
    throw_error(ErrorCode::kUnsupported, "the msmodelslim mode writes w8a8 weights, got float weights");
  if (options.mtp == QuantizeOptions::Mtp::kMix)
    throw_error(
        ErrorCode::kUnsupported,
        "the msmodelslim mode writes the MTP layer as 'none' or 'float', got 'mix': its values in the "
        "reference depend on how an NPU multiplies float32 by bf16, which is not known");
  if (options.rotate_model)
    throw_error(
        ErrorCode::kUnsupported,
        "rotations of the model (--rot) are not reproduced by the msmodelslim mode: leave one of them out");
  return open_float_checkpoint(options.model);
}

std::set<std::int64_t> float_layers(const QuantizeOptions& options) {
  const std::vector<std::int64_t> layers = reference_fallback(options.model);
  return {layers.begin(), layers.end()};
}

// One run over the units: the embedding, every decoder layer, what follows the last one. After each,
// everything that a later run needs to go on is on the disk.
class Run {
 public:
  Run(const QuantizeOptions& options, const Given& given)
      : options_(options),
        given_(given),
        source_(open_source(options)),
        config_(source_.config()),
        outside_(outside_schema(config_)),
        plan_(make_plan(source_, options, layers_to_write(config_, options),
                        given.float_layers ? *given.float_layers : float_layers(options))),
        files_(source_),
        pool_(options.threads),
        reader_(files_, plan_.type) {
    if (!given.statistics) start_calibration();
    folder_.emplace(options.model, options.out, options.overwrite, OutputFolder::Earlier::kKeep);
    begin();
  }

  QuantizeResult run() {
    if (folder_->completed()) {
      folder_->commit();
      return manifest_.result;
    }
    const bool resumed = manifest_.finished > 0;
    writer_.emplace(folder_->partial(), plan_, options_.shard_bytes,
                    resumed ? std::optional(result().bytes_out) : std::nullopt);
    layer_writer_.emplace(options_, reader_, pool_, *writer_);
    if (calibration_ && resumed && manifest_.finished < last_unit()) calibration_->load(border());
    while (manifest_.finished <= last_unit()) {
      start_ = std::chrono::steady_clock::now();
      write_unit(manifest_.finished);
      finish_unit();
    }
    report(Stage::kFinish, layers(), "");
    finish();
    return result();
  }

 private:
  std::int64_t layers() const { return layers_to_write(config_, options_); }
  std::int64_t last_unit() const { return layers() + 1; }
  QuantizeResult& result() { return manifest_.result; }
  bool fa(std::int64_t layer) const { return options_.fa_quant && !plan_.float_layers.contains(layer); }
  std::int64_t fa_layers() const {
    std::int64_t count = 0;
    for (std::int64_t l = 0; l < layers(); ++l) count += fa(l) ? 1 : 0;
    return count;
  }

  // Finds what an earlier run left, or begins afresh.
  void begin() {
    manifest_.inputs = run_inputs(
        options_, files_,
        {layers(), {plan_.float_layers.begin(), plan_.float_layers.end()}, calibration_ != nullptr});
    describe_result();
    manifest_ = resume_or_begin(*folder_, std::move(manifest_), options_.resume);
    result().resumed_layers = std::clamp<std::int64_t>(manifest_.finished - 1, 0, layers());
  }

  void start_calibration() {
    const Tokenizer tokenizer = Tokenizer::load(options_.model);
    const auto batches = [&](const std::filesystem::path& prompts) {
      return make_batches(tokenizer, config_, read_prompts(prompts), options_.batch_size);
    };
    std::vector<TokenBatch> anti, calib = batches(options_.calib);
    for (const TokenBatch& batch : calib) {
      result().prompts += batch.sequences;
      result().tokens += batch.tokens();
    }
    if (options_.anti != QuantizeOptions::Anti::kNone)
      anti = batches(options_.anti_calib.empty() ? options_.calib : options_.anti_calib);
    if (options_.dynamic && fa_layers() == 0) calib.clear();
    check_memory(options_, memory_needed(source_, options_, anti, calib, pool_.threads()));
    calibration_ =
        std::make_unique<Calibration>(config_, plan_.type, pool_, std::move(anti), std::move(calib));
  }

  // The residual streams that enter the next layer.
  std::filesystem::path border() const {
    return folder_->state() / fmt::format("activations-{}.bin", manifest_.finished - 1);
  }

  void write_unit(std::int64_t unit) {
    if (unit == 0) {
      layer_writer_->copy(outside_.weight(TensorRole::kEmbedTokens));
      if (calibration_) calibration_->embed(reader_);
    } else if (unit <= layers()) {
      report(Stage::kQuantize, unit - 1, "attention");
      attention(unit - 1);
      report(Stage::kQuantize, unit - 1, "mlp");
      mlp(unit - 1);
    } else {
      norm(outside_.name(TensorRole::kFinalNorm));
      const TensorSchema& head = outside_.get(TensorRole::kLmHead);
      if (!head.optional || source_.find(outside_.weight(head)) != nullptr)
        layer_writer_->copy(outside_.weight(head));
      for (const PlannedTensor& planned : plan_.mtp) layer_writer_->stored(planned.tensor.name);
    }
  }

  void finish_unit() {
    writer_->sync();
    files_.check_unchanged();
    const std::filesystem::path former = border();
    result().bytes_out = writer_->written();
    result().seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    ++manifest_.finished;
    if (calibration_ && manifest_.finished < last_unit()) calibration_->save(border());
    write_manifest(folder_->state(), manifest_);
    folder_->keep();
    std::filesystem::remove(former);
  }

  void attention(std::int64_t layer) {
    AttentionTensors tensors = reader_.attention(layer);
    LayerStatistics statistics;
    if (given_.statistics)
      statistics = given_.statistics(layer);
    else
      statistics.groups = calibration_->observe_groups(options_.anti, tensors);
    smooth(config_, options_.anti, plan_.type, statistics.groups, tensors);
    if (calibration_) calibration_->observe_inputs(tensors, fa(layer), statistics);
    layer_writer_->attention(layer, fa(layer), tensors, statistics);
  }

  void mlp(std::int64_t layer) {
    const LayerSchema schema = layer_schema(config_, layer);
    const NormTensors before = norm(schema.name(TensorRole::kPostAttentionNorm));
    if (calibration_) calibration_->begin_mlp(before);
    if (schema.experts > 0)
      experts(schema);
    else
      gated_mlp(schema, LayerPart::kDenseMlp, kAllTokens);
    if (calibration_) calibration_->end_mlp();
  }

  void experts(const LayerSchema& layer) {
    const std::string gate = layer.weight(TensorRole::kRouter);
    const TensorSchema* router_bias = layer.find(TensorRole::kRouterBias);
    const std::string bias = router_bias != nullptr ? layer.weight(*router_bias) : "";
    const bool biased = source_.find(bias) != nullptr;
    layer_writer_->copy(gate);
    if (biased) layer_writer_->copy(bias);
    if (calibration_)
      calibration_->route(reader_.matrix(gate), biased ? reader_.vector(bias) : std::vector<float>{});
    for (std::int64_t e = 0; e < config_.n_routed_experts; ++e) gated_mlp(layer, LayerPart::kExpert, e);
    if (config_.n_shared_experts > 0) gated_mlp(layer, LayerPart::kSharedExpert, kAllTokens);
  }

  void gated_mlp(const LayerSchema& layer, LayerPart part, std::int64_t expert) {
    MlpTensors tensors = reader_.mlp(layer, part, expert);
    layer_writer_->mlp(layer, part, expert, tensors);
    if (calibration_) calibration_->mlp(std::move(tensors), expert);
  }

  NormTensors norm(const std::string& name) {
    NormTensors tensors{reader_.vector(name + ".weight"), {}};
    layer_writer_->norm(name, tensors);
    return tensors;
  }

  void report(Stage stage, std::int64_t layer, std::string part) const {
    if (options_.progress)
      options_.progress({stage, layer, layers(), std::move(part), writer_->written(), writer_->total()});
  }

  void finish() {
    writer_->finish();
    result().bytes_out = writer_->total();
    result().tensors = writer_->tensors();
    result().peak_memory = peak_resident_bytes();
    write_description(folder_->partial(), plan_, options_);
    write_file_atomically(
        folder_->partial() / "config.json",
        marked_config(language_model_config(read_text_file(options_.model / "config.json")), options_));
    copy_other_files(options_.model, folder_->partial());
    write_manifest(folder_->state(), manifest_);
    set_modes(folder_->partial());
    folder_->commit();
  }

  // What is known of the result before it is made.
  void describe_result() {
    result().layers = layers();
    result().fa_layers = fa_layers();
    result().mtp = !plan_.mtp.empty();
    for (const auto& [name, view] : source_.tensors())
      result().bytes_in += static_cast<std::int64_t>(view.bytes.size());
    if (options_.fa_quant && !plan_.float_layers.empty())
      result().warnings.push_back(
          fmt::format("layers {} have no scales of the int8 cache: the reference's list for a path like '{}'",
                      fmt::join(plan_.float_layers, ", "), options_.model.string()));
  }

  const QuantizeOptions& options_;
  const Given& given_;
  const Checkpoint source_;
  const ModelConfig& config_;
  const LayerSchema outside_;
  Plan plan_;
  const SourceReader files_;
  ThreadPool pool_;
  TensorReader reader_;
  std::optional<OutputFolder> folder_;
  Manifest manifest_;
  std::optional<Writer> writer_;
  std::optional<LayerWriter> layer_writer_;
  std::unique_ptr<Calibration> calibration_;     // none if statistics are given
  std::chrono::steady_clock::time_point start_;  // of the unit
};

}  // namespace

QuantizeResult quantize_as_msmodelslim(const QuantizeOptions& options, const Given& given) {
  return Run(options, given).run();
}

}  // namespace latent8::compat
