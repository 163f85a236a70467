#include "quant/compat/compat.h"

#include <chrono>
#include <memory>

#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "quant/compat/layer_writer.h"
#include "quant/compat/smoothing.h"
#include "quant/output_folder.h"

namespace latent8::compat {
namespace {

using Stage = QuantizeProgress::Stage;

Checkpoint open_source(const QuantizeOptions& options) {
  if (options.weights != QuantizeOptions::Weights::kW8A8)
    throw_error(ErrorCode::kUnsupported, "the msmodelslim mode writes w8a8 weights, got float weights");
  if (options.mtp == QuantizeOptions::Mtp::kMix)
    throw_error(
        ErrorCode::kUnsupported,
        "the msmodelslim mode writes the MTP layer as 'none' or 'float', got 'mix': its values in the "
        "reference depend on how an NPU multiplies float32 by bf16, which is not known");
  Checkpoint source = Checkpoint::open(options.model);
  if (source.quant() != nullptr)
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': a float checkpoint expected, got one that is quantised already ({})",
                options.model.string(), source.quant()->file_name);
  return source;
}

std::int64_t layers_of(const Checkpoint& source, const QuantizeOptions& options) {
  const std::int64_t all = source.config().num_hidden_layers;
  if (options.layer_count < 0 || options.layer_count > all)
    throw_error(ErrorCode::kInvalidArgument, "layer_count: 0 to {} expected, got {}", all,
                options.layer_count);
  return options.layer_count == 0 ? all : options.layer_count;
}

// One run over the layers: smooth, quantise, write.
class Run {
 public:
  Run(const QuantizeOptions& options, const Given& given)
      : options_(options),
        given_(given),
        source_(open_source(options)),
        config_(source_.config()),
        plan_(make_plan(source_, options, layers_of(source_, options),
                        given.float_layers ? *given.float_layers : fallback_layers(options.model.string()))),
        folder_(options.model, options.out, options.overwrite),
        pool_(options.threads),
        reader_(source_, plan_.type),
        writer_(folder_.partial(), plan_, options.shard_bytes),
        layer_writer_(options, reader_, pool_, writer_) {}

  QuantizeResult run() {
    layer_writer_.copy("model.embed_tokens.weight");
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
  std::int64_t layers() const { return layers_of(source_, options_); }
  bool fa(std::int64_t layer) const { return options_.fa_quant && !plan_.float_layers.contains(layer); }

  void attention(std::int64_t layer) {
    AttentionTensors tensors = reader_.attention(layer);
    const LayerStatistics statistics = given_.statistics(layer);
    smooth(config_, options_.anti, plan_.type, statistics.groups, tensors);
    layer_writer_.attention(layer, fa(layer), tensors, statistics);
  }

  void mlp(std::int64_t layer) {
    const std::string name = fmt::format("model.layers.{}.", layer), inside = name + "mlp";
    norm(name + "post_attention_layernorm");
    if (!config_.is_moe_layer(layer)) {
      layer_writer_.mlp(inside, reader_.mlp(inside));
      return;
    }
    for (std::int64_t e = 0; e < config_.n_routed_experts; ++e) {
      const std::string expert = fmt::format("{}.experts.{}", inside, e);
      layer_writer_.mlp(expert, reader_.mlp(expert));
    }
    layer_writer_.copy(inside + ".gate.weight");
    const std::string bias = inside + ".gate.e_score_correction_bias";
    if (source_.find(bias) != nullptr) layer_writer_.copy(bias);
    if (config_.n_shared_experts > 0)
      layer_writer_.mlp(inside + ".shared_experts", reader_.mlp(inside + ".shared_experts"));
  }

  void norm(const std::string& name) { layer_writer_.norm(name, {reader_.vector(name + ".weight"), {}}); }

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
    QuantizeResult out;
    out.layers = layers();
    for (std::int64_t l = 0; l < layers(); ++l) out.fa_layers += fa(l) ? 1 : 0;
    out.mtp = !plan_.mtp.empty();
    for (const auto& [name, view] : source_.tensors())
      out.bytes_in += static_cast<std::int64_t>(view.bytes.size());
    out.bytes_out = writer_.written();
    out.tensors = writer_.tensors();
    return out;
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
};

}  // namespace

QuantizeResult quantize_as_msmodelslim(const QuantizeOptions& options, const Given& given) {
  const auto start = std::chrono::steady_clock::now();
  QuantizeResult result = Run(options, given).run();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace latent8::compat
