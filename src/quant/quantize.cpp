#include "latent8/quantize.h"

#include <chrono>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/checkpoint.h"
#include "formats/files.h"
#include "quant/calibration.h"
#include "quant/checkpoint_writer.h"
#include "quant/layer_quantizer.h"
#include "quant/output_folder.h"
#include "quant/plan.h"
#include "sys/thread_pool.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

using Stage = QuantizeProgress::Stage;

std::shared_ptr<const Checkpoint> open_source(const QuantizeOptions& options) {
  if (options.weights == QuantizeOptions::Weights::kFloat && !options.fa_quant)
    throw_error(ErrorCode::kInvalidArgument,
                "float weights without scales of the int8 cache are the source itself: ask for fa_quant or "
                "for w8a8 weights");
  if (options.weights == QuantizeOptions::Weights::kFloat && options.dynamic)
    throw_error(ErrorCode::kInvalidArgument, "'dynamic' needs w8a8 weights, got float weights");
  auto source = std::make_shared<const Checkpoint>(Checkpoint::open(options.model));
  if (source->quant() != nullptr)
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': a float checkpoint expected, got one that is quantised already ({})",
                options.model.string(), source->quant()->file_name);
  return source;
}

// One run: the calibration prompts pass through a layer, the layer is quantised and written, and so on.
class Pipeline {
 public:
  explicit Pipeline(const QuantizeOptions& options)
      : options_(options),
        source_(open_source(options)),
        plan_(plan_checkpoint(*source_, options)),
        folder_(options.model, options.out, options.overwrite),
        pool_(options.threads),
        writer_(folder_.partial(), plan_, weight_kind(options)) {
    if (plan_.needs_calibration()) start_calibration();
  }

  QuantizeResult run() {
    const LayerQuantizer quantizer(*source_, plan_.dtype, pool_, writer_);
    quantizer.write(plan_.embedding, {});
    for (std::int64_t layer = 0; layer < layers(); ++layer) {
      const auto& modules = plan_.layers[static_cast<std::size_t>(layer)];
      report(Stage::kCalibrate, layer);
      const LayerObservers observers = observe(layer, modules, quantizer);
      report(Stage::kQuantize, layer);
      quantizer.write(modules, observers);
    }
    quantizer.write(plan_.head, {});
    quantizer.write(plan_.mtp, {});
    report(Stage::kFinish, layers());
    finish();
    return result();
  }

 private:
  std::int64_t layers() const { return source_->config().num_hidden_layers; }

  void start_calibration() {
    const Tokenizer tokenizer = Tokenizer::load(options_.model);
    const auto prompts = tokenize_prompts(tokenizer, source_->config(), read_prompts(options_.calib));
    for (const CalibrationPrompt& prompt : prompts)
      for (const std::uint8_t counts : prompt.counts) result_.tokens += counts;
    if (result_.tokens == 0)
      throw_error(ErrorCode::kInvalidArgument, "calibration prompts: at least one ordinary token expected");
    result_.prompts = static_cast<std::int64_t>(prompts.size());
    calibration_ = std::make_unique<CalibrationRun>(source_->config(), pool_, prompts);
    calibration_->embed(SourceTensor(*source_, "model.embed_tokens.weight"));
  }

  LayerObservers observe(std::int64_t layer, const std::vector<PlannedModule>& modules,
                         const LayerQuantizer& quantizer) {
    if (!calibration_) return {};
    WeightStorage storage;
    const LayerWeights weights = load_layer(*source_, layer, {}, storage);
    LayerObservers observers = quantizer.observers(source_->config(), modules);
    const bool finite = calibration_->run_layer(
        weights, [&](const Scratch& s, std::int64_t tokens, std::span<const std::uint8_t> counts) {
          observers.observe(s, source_->config(), tokens, counts);
        });
    if (!finite) {
      quantizer.refuse_values_that_are_not_finite(modules);
      throw_error(
          ErrorCode::kCorrupt,
          "'{}': layer {}: finite activations expected, got NaN or Inf although its weights are finite",
          options_.model.string(), layer);
    }
    return observers;
  }

  void report(Stage stage, std::int64_t layer) const {
    if (options_.progress)
      options_.progress({stage, layer, layers(), "", writer_.written(), writer_.total()});
  }

  void finish() {
    writer_.finish();
    write_description(folder_.partial(), plan_, options_);
    write_file_atomically(folder_.partial() / "config.json",
                          quantized_config(read_text_file(options_.model / "config.json"), plan_, options_));
    copy_other_files(options_.model, folder_.partial());
    folder_.commit();
  }

  QuantizeResult result() {
    result_.layers = layers();
    result_.fa_layers = options_.fa_quant ? layers() : 0;
    result_.mtp = !plan_.mtp.empty();
    for (const auto& [name, view] : source_->tensors())
      result_.bytes_in += static_cast<std::int64_t>(view.bytes.size());
    result_.bytes_out = writer_.written();
    result_.tensors = writer_.tensors();
    return result_;
  }

  const QuantizeOptions& options_;
  std::shared_ptr<const Checkpoint> source_;
  CheckpointPlan plan_;
  OutputFolder folder_;
  ThreadPool pool_;
  ShardWriter writer_;
  std::unique_ptr<CalibrationRun> calibration_;  // none if nothing has to be observed
  QuantizeResult result_;
};

}  // namespace

QuantizeResult quantize(const QuantizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  QuantizeResult result = Pipeline(options).run();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace latent8
