#include "quant/compat/compat.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "formats/layer_schema.h"
#include "formats/model_family.h"
#include "quant/calibrate/calibration.h"
#include "quant/compat/calibration.h"
#include "quant/compat/files.h"
#include "quant/compat/layer_writer.h"
#include "quant/compat/memory.h"
#include "quant/compat/smoothing.h"
#include "quant/output/checkpoint_writer.h"
#include "quant/output/resumable_run.h"
#include "quant/plan/plan.h"
#include "quant/plan/run_inputs.h"
#include "source/file_watch.h"
#include "source/float_checkpoint.h"

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
  return open_float_source(options);
}

std::set<std::int64_t> float_layers(const QuantizeOptions& options) {
  const std::vector<std::int64_t> layers = reference_fallback(options.model);
  return {layers.begin(), layers.end()};
}

// The units one after the other: the embedding, every decoder layer, what follows the last one.
class Pipeline {
 public:
  Pipeline(const QuantizeOptions& options, const Given& given)
      : options_(options),
        given_(given),
        watch_(options.model),
        source_(open_source(options)),
        config_(source_.config()),
        outside_(outside_schema(config_)),
        plan_(make_plan(source_, options, layers_to_write(config_, options),
                        given.float_layers ? *given.float_layers : float_layers(options))),
        files_(source_),
        pool_(options.threads),
        reader_(files_, plan_.type),
        run_(options, watch_, beginning()) {
    result().resumed_layers = std::clamp<std::int64_t>(run_.manifest().finished - 1, 0, layers());
  }

  QuantizeResult run() {
    if (const auto result = run_.completed()) return *result;
    const std::int64_t finished = run_.manifest().finished;
    run_.start_writing(shard_layout(plan_, options_));
    layer_writer_.emplace(options_, reader_, pool_, run_.writer());
    if (calibration_ && finished > 0 && finished <= layers()) calibration_->load(run_.border(finished - 1));
    run_.write_units(layers() + 2, [this](std::int64_t unit) { write_unit(unit); });
    return finish();
  }

 private:
  std::int64_t layers() const { return layers_to_write(config_, options_); }
  QuantizeResult& result() { return run_.result(); }
  bool fa(std::int64_t layer) const { return options_.fa_quant && !plan_.float_layers.contains(layer); }
  std::int64_t fa_layers() const {
    std::int64_t count = 0;
    for (std::int64_t l = 0; l < layers(); ++l) count += fa(l) ? 1 : 0;
    return count;
  }

  // What decides the result, and what is known of it before it is made.
  Manifest beginning() {
    Manifest out;
    if (!given_.statistics) start_calibration(out.result);
    out.inputs = run_inputs(
        options_, files_,
        {layers(), {plan_.float_layers.begin(), plan_.float_layers.end()}, calibration_ != nullptr});
    out.result.layers = layers();
    out.result.fa_layers = fa_layers();
    out.result.mtp = !plan_.mtp.empty();
    for (const auto& [name, view] : source_.tensors()) out.result.bytes_in += view.size_bytes();
    if (options_.fa_quant && !plan_.float_layers.empty())
      out.result.warnings.push_back(
          fmt::format("layers {} have no scales of the int8 cache: the reference's list for a path like '{}'",
                      fmt::join(plan_.float_layers, ", "), options_.model.string()));
    return out;
  }

  void start_calibration(QuantizeResult& result) {
    const Tokenizer tokenizer = Tokenizer::load(options_.model);
    const auto batches = [&](const std::filesystem::path& prompts) {
      return make_batches(tokenizer, config_, read_prompts(prompts), options_.batch_size);
    };
    std::vector<TokenBatch> anti, calib = batches(options_.calib);
    for (const TokenBatch& batch : calib) {
      result.prompts += batch.sequences;
      result.tokens += batch.tokens();
    }
    if (options_.anti != QuantizeOptions::Anti::kNone)
      anti = batches(options_.anti_calib.empty() ? options_.calib : options_.anti_calib);
    if (options_.dynamic && fa_layers() == 0) calib.clear();
    check_memory(options_, memory_needed(source_, options_, anti, calib, pool_.threads()));
    calibration_ =
        std::make_unique<Calibration>(config_, plan_.type, pool_, std::move(anti), std::move(calib));
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
      run_.drop_border(unit - 1);
    } else {
      norm(outside_.name(TensorRole::kFinalNorm));
      const TensorSchema& head = outside_.get(TensorRole::kLmHead);
      if (!head.optional || source_.find(outside_.weight(head)) != nullptr)
        layer_writer_->copy(outside_.weight(head));
      for (const PlannedTensor& planned : plan_.mtp) layer_writer_->stored(planned.tensor.name);
    }
    if (calibration_ && unit < layers()) calibration_->save(run_.border(unit));
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

  void report(Stage stage, std::int64_t layer, std::string part) {
    if (options_.progress)
      options_.progress(
          {stage, layer, layers(), std::move(part), run_.writer().written(), run_.writer().planned()});
  }

  QuantizeResult finish() {
    report(Stage::kFinish, layers(), "");
    ResumableRun::Ending ending;
    for (const auto* tensors : {&plan_.tensors, &plan_.mtp})
      for (const PlannedTensor& planned : *tensors) ending.tensors.push_back(planned.tensor);
    ending.files = [this](const std::filesystem::path& dir) { write_files(dir); };
    ending.sums = false;  // the reference's files and no other
    ending.progress = [this](std::int64_t done, std::int64_t of) {
      report(Stage::kFinish, layers(), fmt::format("checksums, {} of {} files", done, of));
    };
    return run_.finish(ending, pool_);
  }

  void write_files(const std::filesystem::path& dir) {
    std::vector<std::pair<std::string, QuantType>> described;
    for (const auto* tensors : {&plan_.tensors, &plan_.mtp})
      for (const PlannedTensor& planned : *tensors)
        if (planned.described) described.emplace_back(planned.tensor.name, planned.type);
    write_description(dir, described, options_);
    write_file_atomically(
        dir / "config.json",
        quantized_config(language_model_config(read_text_file(options_.model / "config.json")), config_, {},
                         options_));
    result().copied = copy_other_files(options_.model, dir, /*as_reference=*/true).copied;
    set_modes(dir);
  }

  const QuantizeOptions& options_;
  const Given& given_;
  const FileWatch watch_;  // before anything is read
  const Checkpoint source_;
  const ModelConfig& config_;
  const LayerSchema outside_;
  Plan plan_;
  const SourceReader files_;
  ThreadPool pool_;
  TensorReader reader_;
  std::unique_ptr<Calibration> calibration_;  // none if statistics are given
  ResumableRun run_;
  std::optional<LayerWriter> layer_writer_;
};

}  // namespace

QuantizeResult quantize_as_msmodelslim(const QuantizeOptions& options, const Given& given) {
  return Pipeline(options, given).run();
}

}  // namespace latent8::compat
