#include "quant/calibrate/mtp_stream.h"

#include "base/error.h"
#include "formats/layer_schema.h"
#include "model/deepseek_model.h"
#include "quant/calibrate/source_embedding.h"

namespace latent8 {
namespace {

std::vector<std::string> with_block_scales(const Checkpoint& source, std::vector<std::string> names) {
  for (std::size_t i = 0, n = names.size(); i < n; ++i)
    if (source.find(names[i] + kBlockScaleSuffix) != nullptr) names.push_back(names[i] + kBlockScaleSuffix);
  return names;
}

}  // namespace

ActivationStore mtp_stream(const PipelineContext& context, CalibrationRun& run, const ActivationStore& x) {
  const ModelConfig& config = run.config();
  const Checkpoint& source = context.source.checkpoint();
  const LayerSchema outside = outside_schema(config), layer = layer_schema(config, config.num_hidden_layers);
  const std::string final_norm = outside.weight(TensorRole::kFinalNorm);
  WorkingLayer working(config);
  working.read(context.source, with_block_scales(source, {final_norm, layer.weight(TensorRole::kENorm),
                                                          layer.weight(TensorRole::kHNorm),
                                                          layer.weight(TensorRole::kEhProj)}));
  const Checkpoint tensors = working.checkpoint();
  WeightStorage storage;
  const MtpInputWeights weights = load_mtp_input(tensors, storage);
  const Matrix<float> norm = working.values(final_norm);
  const std::string own = layer.weight(TensorRole::kMtpEmbedTokens);
  const SourceEmbedding embedding(
      context.source, source.find(own) != nullptr ? own : outside.weight(TensorRole::kEmbedTokens), config);
  ActivationStore out = ActivationStore::temporary(context.budget, context.spill, x.rows(), x.cols());
  Scratch& s = run.scratch();
  for (const CalibrationStep& step : run.steps()) {
    const std::int64_t T = step.tokens();
    const Mat<float> hidden = s.h.view().row_range(0, T), stream = s.x.view().row_range(0, T);
    x.read(step.begin, hidden);
    rms_norm(run.ctx(), hidden, {norm.view().row_span(0), {}}, static_cast<float>(config.rms_norm_eps),
             hidden);
    for (std::int64_t t = 0; t < T; ++t)
      embedding.read_row(step.next_ids[static_cast<std::size_t>(t)], stream.row_span(t));
    mtp_input(run.ctx(), config, weights, s, hidden, stream);
    out.write(step.begin, stream);
  }
  return out;
}

}  // namespace latent8
