#pragma once
// Quantises one decoder layer (or the MTP layer): runs it over the calibration prompts as far as later layers
// and its own statistics need that, decides, and writes its tensors.

#include <optional>
#include <string>
#include <vector>

#include "quant/calibrate/layer_activations.h"
#include "quant/latent/latent_choice.h"
#include "quant/layer/layer_quantizer.h"
#include "quant/layer/module_stream.h"
#include "quant/output/manifest.h"
#include "quant/weights/working_layer.h"

namespace latent8 {

class LayerPipeline {
 public:
  LayerPipeline(const PipelineContext& context, CalibrationRun& run, PlannedUnit& unit, LayerReport& report,
                Manifest& manifest);

  // x [tokens, hidden_size]: the residual stream that enters the layer; `next`: where the one that leaves it
  // goes, or nullptr if nobody reads that. Throws: Error{kCorrupt} naming a tensor with NaN or Inf.
  void run(const ActivationStore& x, ActivationStore& next, bool output_needed);

 private:
  void attention(const ActivationStore& x, ActivationStore& next);
  void mlp(ActivationStore& next, bool output_needed);
  // Runs what every token passes, and writes it. Leaves norms in `weights`, whose values `storage` keeps; its
  // other tensors are gone.
  void common_mlp(ActivationStore& next, MlpActivations& input, WeightStorage& storage,
                  LayerWeights& weights);

  // Called when the activations of attention are known, before its linears are quantised: what is replaced in
  // `working_` is what gets quantised.
  void decide_attention(AttentionActivations& activations, const ActivationStore& next);
  LayerObservers observe(const Checkpoint& tensors, const AttentionActivations& activations);
  void write_attention(const Checkpoint& tensors, const AttentionActivations& activations);
  std::span<const std::uint8_t> counts_of(const CalibrationStep& step) const;
  // error: DownError::value()
  void fall_back_dense(double error);
  void fall_back(PlannedModule& module, const std::string& why);
  void report_latent(const AttentionActivations& activations, const LatentChoice& choice);
  LatentChoices latent_choices() const;
  [[noreturn]] void refuse_values_that_are_not_finite() const;

  std::vector<const PlannedModule*> modules(PlannedModule::Part part) const;
  void write(const std::vector<const PlannedModule*>& modules, const Checkpoint& tensors,
             const LayerObservers& observers);

  const PipelineContext& context_;
  CalibrationRun& run_;
  PlannedUnit& unit_;
  LayerReport& report_;
  Manifest& manifest_;  // takes warnings and fallbacks
  WorkingLayer working_;
  OutputErrors output_errors_;
  std::optional<LatentChoice> latent_;  // of a layer with an int8 cache, once it is decided
};

}  // namespace latent8
