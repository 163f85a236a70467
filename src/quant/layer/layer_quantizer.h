#pragma once
// Turns planned modules into tensors and writes them.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/step.h"
#include "quant/calibrate/observers.h"
#include "quant/calibrate/output_error.h"
#include "quant/output/shard_writer.h"
#include "quant/plan/plan.h"
#include "quant/weights/weight_quantizer.h"
#include "source/source_tensor.h"

namespace latent8 {

// Where attention keeps the inputs of its linears, by InputKind.
inline constexpr std::array<Matrix<float> Scratch::*, 3> kAttentionInputs{&Scratch::h, &Scratch::c_q,
                                                                          &Scratch::o};

// What is observed in one layer. Static linears that read the same input share its observer, so that the step
// quantises it once.
struct LayerObservers {
  std::array<std::optional<InputObserver>, kInputKinds> inputs;  // by InputKind; those that are needed
  std::optional<FaObserver> fa;
  float k_scale = 0.0F;  // of the latent's codes; with `fa`
  // Hessian::factor() by InputKind: linears that have one are rounded so that their errors cancel.
  std::array<std::optional<HessianFactor>, kInputKinds> factors;

  // Rows [0, tokens) of kAttentionInputs and s.q_absorbed.
  void observe(const Scratch& s, std::int64_t tokens, std::span<const std::uint8_t> counts);
  // REQUIRES: the input is observed.
  const InputObserver& input_of(InputKind kind) const;
};

// Ownership: refers to its arguments, which must outlive it.
class LayerQuantizer {
 public:
  // Tensors in memory.
  LayerQuantizer(const Checkpoint& tensors, DType dtype, ThreadPool& pool, ShardWriter& writer)
      : tensors_(tensors), source_(nullptr), dtype_(dtype), pool_(pool), writer_(writer) {}
  // Tensors of the source, of which a few rows are in memory at a time.
  LayerQuantizer(const TensorSource& source, DType dtype, ThreadPool& pool, ShardWriter& writer)
      : tensors_(source.checkpoint()), source_(&source), dtype_(dtype), pool_(pool), writer_(writer) {}

  // Observers for what the modules need.
  LayerObservers observers(std::span<const PlannedModule* const> modules) const;
  // Writes all tensors of the modules; returns the errors of linears that have a factor. Throws:
  // Error{kCorrupt} naming a tensor with NaN or Inf, Error{kUnsupported} naming a row whose scale the type
  // cannot hold.
  OutputErrors write(std::span<const PlannedModule* const> modules,
                     const LayerObservers& observers = {}) const;
  // Reads every value of the module's tensors; throws Error{kCorrupt} naming the first with NaN or Inf.
  void refuse_values_that_are_not_finite(const PlannedModule& module) const;

 private:
  SourceTensor tensor(const std::string& name) const;
  void write_dynamic(std::span<const PlannedModule* const> modules) const;
  void write_compensated(const PlannedModule& module, const HessianFactor& factor,
                         OutputErrors& errors) const;
  void write_stored(const PlannedModule& module) const;
  void write_float(const PlannedModule& module) const;
  void write_static(const PlannedModule& module, const LayerObservers& observers, OutputErrors& errors) const;
  void write_fa_scales(const PlannedModule& module, const LayerObservers& observers) const;
  // Codes, bias, scale and offset of a weight.
  void append_weight(const PlannedModule& module, const QuantizedWeight& weight,
                     const std::vector<float>& bias) const;
  // A tensor of float values in the model's type.
  void append_floats(const std::string& name, std::span<const float> values) const;
  std::vector<float> bias_of(const std::string& linear) const;  // empty without a bias

  const Checkpoint& tensors_;
  const TensorSource* source_;  // nullptr: the tensors' bytes are in memory
  DType dtype_;
  ThreadPool& pool_;
  ShardWriter& writer_;
};

}  // namespace latent8
