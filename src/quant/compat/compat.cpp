#include "quant/compat/compat.h"

#include <chrono>
#include <memory>

#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "quant/calibration.h"
#include "quant/compat/calibration.h"
#include "quant/compat/layer_writer.h"
#include "quant/compat/smoothing.h"
#include "quant/output_folder.h"
#include "quant/plan.h"

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
  return open_float_checkpoint(options.model);
}

std::set<std::int64_t> float_layers(const QuantizeOptions& options) {
  const std::vector<std::int64_t> layers = reference_fallback(options.model);
  return {layers.begin(), layers.end()};
}

// One run over the layers: smooth, quantise, write.
class Run {
 public:
  Run(const QuantizeOptions& options, const Given& given)
      : options_(options),
        given_(given),
        source_(open_source(options)),
        config_(source_.config()),
        plan_(make_plan(source_, options, layers_to_write(config_, options),
                        given.float_layers ? *given.float_layers : float_layers(options))),
        folder_(options.model, options.out, options.overwrite),
        pool_(options.threads),
        reader_(source_, plan_.type),
        writer_(folder_.partial(), plan_, options.shard_bytes),
        layer_writer_(options, reader_, pool_, writer_) {
    if (!given.statistics) start_calibration();
  }

  QuantizeResult run() {
    layer_writer_.copy("model.embed_tokens.weight");
    if (calibration_) calibration_->embed(reader_.matrix("model.embed_tokens.weight"));
    for (std::int64_t l = 0; l < layers(); ++l) {
      report(Stage::kQuantize, l, "attention");
      attention(l);
      report(Stage::kQuantize, l, "mlp");
      mlp(l);
    }
    norm("model.norm");
    if (!config_.tie_word_embeddings || source_.find("lm_head.weight") != nullptr)
      layer_writer_.copy("lm_head.weight");
    for (const PlannedTensor& planned : plan_.mtp) layer_writer_.stored(planned.tensor.name);
    report(Stage::kFinish, layers(), "");
    finish();
    return result();
  }

 private:
  std::int64_t layers() const { return layers_to_write(config_, options_); }
  bool fa(std::int64_t layer) const { return options_.fa_quant && !plan_.float_layers.contains(layer); }
  bool writes_fa_scales() const {
    for (std::int64_t l = 0; l < layers(); ++l)
      if (fa(l)) return true;
    return false;
  }

  void start_calibration() {
    const Tokenizer tokenizer = Tokenizer::load(options_.model);
    const auto batches = [&](const std::filesystem::path& prompts) {
      return make_batches(tokenizer, config_, read_prompts(prompts), options_.batch_size);
    };
    std::vector<TokenBatch> anti, calib = batches(options_.calib);
    for (const TokenBatch& batch : calib) {
      result_.prompts += batch.sequences;
      result_.tokens += batch.tokens();
    }
    if (options_.anti != QuantizeOptions::Anti::kNone)
      anti = batches(options_.anti_calib.empty() ? options_.calib : options_.anti_calib);
    if (options_.dynamic && !writes_fa_scales()) calib.clear();
    calibration_ =
        std::make_unique<Calibration>(config_, plan_.type, pool_, std::move(anti), std::move(calib));
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
    layer_writer_.attention(layer, fa(layer), tensors, statistics);
  }

  void mlp(std::int64_t layer) {
    const std::string name = fmt::format("model.layers.{}.", layer), inside = name + "mlp";
    const NormTensors before = norm(name + "post_attention_layernorm");
    if (calibration_) calibration_->begin_mlp(before);
    if (config_.is_moe_layer(layer))
      experts(inside);
    else
      gated_mlp(inside, kAllTokens);
    if (calibration_) calibration_->end_mlp();
  }

  void experts(const std::string& name) {
    const std::string gate = name + ".gate.weight", bias = name + ".gate.e_score_correction_bias";
    const bool biased = source_.find(bias) != nullptr;
    layer_writer_.copy(gate);
    if (biased) layer_writer_.copy(bias);
    if (calibration_)
      calibration_->route(reader_.matrix(gate), biased ? reader_.vector(bias) : std::vector<float>{});
    for (std::int64_t e = 0; e < config_.n_routed_experts; ++e)
      gated_mlp(fmt::format("{}.experts.{}", name, e), e);
    if (config_.n_shared_experts > 0) gated_mlp(name + ".shared_experts", kAllTokens);
  }

  void gated_mlp(const std::string& name, std::int64_t expert) {
    MlpTensors tensors = reader_.mlp(name);
    layer_writer_.mlp(name, tensors);
    if (calibration_) calibration_->mlp(std::move(tensors), expert);
  }

  NormTensors norm(const std::string& name) {
    NormTensors tensors{reader_.vector(name + ".weight"), {}};
    layer_writer_.norm(name, tensors);
    return tensors;
  }

  void report(Stage stage, std::int64_t layer, std::string part) const {
    if (options_.progress)
      options_.progress({stage, layer, layers(), std::move(part), writer_.written(), writer_.total()});
  }

  void finish() {
    writer_.finish();
    write_description(folder_.partial(), plan_, options_);
    write_file_atomically(folder_.partial() / "config.json",
                          marked_config(read_text_file(options_.model / "config.json"), options_));
    copy_other_files(options_.model, folder_.partial());
    set_modes(folder_.partial());
    folder_.commit();
  }

  QuantizeResult result() {
    result_.layers = layers();
    for (std::int64_t l = 0; l < layers(); ++l) result_.fa_layers += fa(l) ? 1 : 0;
    result_.mtp = !plan_.mtp.empty();
    for (const auto& [name, view] : source_.tensors())
      result_.bytes_in += static_cast<std::int64_t>(view.bytes.size());
    result_.bytes_out = writer_.written();
    result_.tensors = writer_.tensors();
    if (options_.fa_quant && !plan_.float_layers.empty())
      result_.warnings.push_back(
          fmt::format("layers {} have no scales of the int8 cache: the reference's list for a path like '{}'",
                      fmt::join(plan_.float_layers, ", "), options_.model.string()));
    return result_;
  }

  const QuantizeOptions& options_;
  const Given& given_;
  Checkpoint source_;
  const ModelConfig& config_;
  Plan plan_;
  OutputFolder folder_;
  ThreadPool pool_;
  TensorReader reader_;
  Writer writer_;
  LayerWriter layer_writer_;
  std::unique_ptr<Calibration> calibration_;  // none if statistics are given
  QuantizeResult result_;
};

}  // namespace

QuantizeResult quantize_as_msmodelslim(const QuantizeOptions& options, const Given& given) {
  const auto start = std::chrono::steady_clock::now();
  QuantizeResult result = Run(options, given).run();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace latent8::compat
