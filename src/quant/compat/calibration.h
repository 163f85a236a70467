#pragma once
// The reference's two passes, layer by layer: the unquantised model over the anti prompts, whose inputs
// decide the smoothing, and the smoothed, fake-quantised model over the calibration prompts, whose inputs
// decide the static scales. Source: docs/format.md, "The reference's calibration".

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "latent8/quantize.h"
#include "ops/grouped_mlp.h"
#include "quant/compat/attention_forward.h"

namespace latent8::compat {

// The residual stream of all calls, and one layer's MLP over them.
class Stream {
 public:
  Stream(const ModelConfig& config, OpContext& ctx, DType type, std::vector<TokenBatch> batches,
         bool fake_quantised);

  struct Call {
    TokenBatch batch;
    Matrix<float> x;      // [tokens, hidden_size] residual stream
    Matrix<float> h;      // [tokens, hidden_size] input of the MLP
    Matrix<float> delta;  // [tokens, hidden_size] output of the MLP so far
    Routing routing;      // of an MoE layer
  };
  std::vector<Call>& calls() { return calls_; }

  void embed(const TensorReader& reader);
  void begin_mlp(const NormTensors& norm);
  void route(const Matrix<float>& gate, const std::vector<float>& bias);
  // Adds the output of the tokens that are routed to `expert`, or of all of them for -1. Weights are those to
  // multiply with. An expert without tokens in a call does not see the call.
  void mlp(const MlpTensors& weights, std::int64_t expert);
  void end_mlp();

 private:
  const ModelConfig& config_;
  OpContext& ctx_;
  DType type_;
  bool fake_quantised_;
  std::vector<Call> calls_;
};

// Either pass may have no batches; then it does not run.
class Calibration {
 public:
  Calibration(const ModelConfig& config, DType type, ThreadPool& pool, std::vector<TokenBatch> anti,
              std::vector<TokenBatch> calib);

  void embed(const TensorReader& reader);
  // The residual streams at the border of a layer, for a later run to go on with. Throws: as StateFile.
  void save(const std::filesystem::path& file);
  void load(const std::filesystem::path& file);
  // The anti pass through a layer's attention, with its float weights. m6: searches exponents too.
  std::array<GroupStatistics, kGroups> observe_groups(QuantizeOptions::Anti anti, AttentionTensors& w);
  // The calibration pass through the attention, with its smoothed weights; fills statistics.inputs and .fa.
  void observe_inputs(const AttentionTensors& w, bool fa, LayerStatistics& statistics);
  // Both passes through the MLP: begin_mlp, route if it is an MoE layer, mlp for every part, end_mlp.
  void begin_mlp(const NormTensors& norm);
  void route(const Matrix<float>& gate, const std::vector<float>& bias);
  void mlp(MlpTensors weights, std::int64_t expert);
  void end_mlp();

 private:
  // Of both streams, one after the other, at offsets in a file.
  template <class Visit>
  std::int64_t for_each_matrix(const Visit& visit);

  const ModelConfig& config_;
  DType type_;
  OpContext ctx_;
  AttentionForward attention_;
  Stream anti_, calib_;
};

}  // namespace latent8::compat
