#pragma once
// What a quantised checkpoint will consist of: every tensor with its type and shape, known before any value
// is. Source: docs/format.md, "Types of modules" to "Scales of the int8 cache".

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/layer_schema.h"
#include "formats/safetensors_writer.h"
#include "latent8/quantize.h"

namespace latent8 {

struct PlannedTensor {
  TensorToWrite tensor;
  QuantType type = QuantType::kFloat;
};

// Tensors that are made together.
struct PlannedModule {
  enum class Kind {
    kFloat,   // one tensor of the source, converted to tensors[0].tensor.dtype
    kStored,  // one tensor of the source, byte for byte
    kStatic,  // weight, [bias], weight_scale, weight_offset, input_scale, input_offset, quant_bias, deq_scale
    kDynamic,   // weight, [bias], weight_scale, weight_offset
    kFaScales,  // fa_{q,k,v}.scale, fa_{q,k,v}.offset
    kNone       // nothing: scales of a layer whose cache stays float after all
  };
  Kind kind = Kind::kFloat;
  std::string name;                    // of the source's tensor, or of the linear without ".weight"
  std::vector<PlannedTensor> tensors;  // in the order of the description
  // What has to be in memory with it while its values are decided.
  enum class Part { kOther, kAttention, kMlp, kExpert };
  Part part = Part::kOther;            // kMlp: of a decoder layer, but not of a routed expert
  std::int64_t expert = -1;            // kExpert: which
  InputKind input = InputKind::kNone;  // what a linear multiplies
  // What the tensors become if a measurement says so (Fallback::kAuto): one float tensor, or none at all.
  // Such modules lie in the last shard, which is made when all is decided.
  std::optional<std::vector<PlannedTensor>> fallback;

  void fall_back();  // exchanges `tensors` and `fallback`. REQUIRES: fallback
};

// Modules that are finished together: a run that was interrupted goes on with the first unfinished unit.
struct PlannedUnit {
  enum class Kind {
    kEmbedding,
    kLayer,
    kHead,     // norm, lm_head
    kMtp,      // an MTP layer quantised like a decoder layer, and what surrounds it
    kMtpFloat  // MTP layers as they are, in files of their own
  };
  Kind kind = Kind::kEmbedding;
  std::int64_t layer = -1;  // kLayer, kMtp
  bool fa = false;          // has scales of the int8 cache
  std::vector<PlannedModule> modules;

  // Whether it is run over the calibration prompts before its values are known.
  bool needs_calibration() const;
};

struct CheckpointPlan {
  DType dtype = DType::kBf16;  // of scales, and of float tensors that are converted
  std::vector<PlannedUnit> units;
  std::int64_t layers = 0;         // decoder layers that are written
  std::int64_t fa_layers() const;  // of them with an int8 cache, without MTP
  std::vector<std::int64_t>
      float_cache;  // of these, those that keep a float cache though FA scales are written

  bool has(PlannedUnit::Kind kind) const;
  bool needs_calibration() const;  // whether any unit does
};

// Names of the source's tensors that a module is made of: the weight, its block scales, its bias.
std::vector<std::string> source_names(const Checkpoint& source, const PlannedModule& module);

// The decoder layers to write. Throws: Error{kInvalidArgument} for more than there are.
std::int64_t layers_to_write(const ModelConfig& config, const QuantizeOptions& options);

// The layers that the reference leaves without an int8 cache: a list chosen by a part of the model's path, in
// upper case; the first match counts.
// Source: docs/format.md, "Scales of the int8 cache".
std::vector<std::int64_t> reference_fallback(const std::filesystem::path& model);

// Throws: Error{kNotFound} for tensors that the config promises and the source lacks, {kUnsupported} for
// types that hold no floats, {kInvalidArgument} for more layers than there are.
CheckpointPlan plan_checkpoint(const Checkpoint& source, const QuantizeOptions& options);

}  // namespace latent8
