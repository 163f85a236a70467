#pragma once
// What tensors a model has, from its config alone: the one home of their names, shapes and uses. Loading,
// planning, verification, rotation, random models and costs ask it; CONTRIBUTING.md, "Add a model", says how
// another model of the family gets in here.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_config.h"
#include "formats/safetensors.h"

namespace latent8 {

// A linear, a norm, or a tensor of its own.
enum class TensorForm : std::uint8_t {
  kLinear,  // `name`.weight [rows, cols], may be int8; maybe `name`.bias [rows]
  kMatrix,  // the same, always float
  kNorm,    // `name`.weight [rows], maybe `name`.bias
  kVector   // `name` [rows]
};

enum class TensorRole : std::uint8_t {
  kEmbedTokens,
  kFinalNorm,
  kLmHead,
  kInputNorm,
  kQProj,  // instead of the next three in models without q_lora_rank
  kQAProj,
  kQANorm,
  kQBProj,
  kKvAProj,
  kKvANorm,
  kKvBProj,
  kOProj,
  kIndexerQB,  // these four: of the indexer of sparse attention
  kIndexerK,
  kIndexerKNorm,
  kIndexerWeights,
  kPostAttentionNorm,
  kGateProj,
  kUpProj,
  kDownProj,
  kRouter,
  kRouterBias,
  kENorm,  // this and what follows: of an MTP layer
  kHNorm,
  kEhProj,
  kSharedHeadNorm,
  kMtpEmbedTokens,
  kSharedHead
};

enum class LayerPart : std::uint8_t {
  kOutside,  // of the layers
  kAttention,
  kDenseMlp,
  kExpert,  // of each routed expert
  kRouter,
  kSharedExpert,
  kMlpNorm,  // the norm before the MLP, whichever it is
  kMtp       // what an MTP layer has besides a decoder layer's tensors
};

// What a tensor multiplies. The inputs of int8 linears come first: statistics are arrays of kInputKinds.
enum class InputKind : std::uint8_t {
  // of q_a_proj or q_proj, kv_a_proj_with_mqa, and the indexer: the hidden state after input_layernorm
  kHidden,
  kCQ,     // of q_b_proj, and of the indexer's wq_b
  kO,      // of o_proj: the heads' values
  kMlp,    // of gate_proj and up_proj, and of the router: after post_attention_layernorm
  kDown,   // of down_proj
  kCKv,    // of kv_b_proj: the latent
  kMtp,    // of eh_proj: an embedding and a hidden state, both after a norm
  kFinal,  // of lm_head and shared_head.head
  kNone    // nothing: norms, the router's bias, an embedding's rows
};
inline constexpr std::size_t kInputKinds = 5;

// How processes share a tensor. No sum is split, so rows of the output are all that can be cut.
enum class TensorSplit : std::uint8_t { kWhole, kRows, kHeads, kVocabulary };

// What rows or columns are channels of, among what rotations of the model turn.
enum class ChannelSpace : std::uint8_t {
  kNone,    // nothing that is rotated
  kHidden,  // the hidden state; of eh_proj, two of them
  kQLora,   // q_a_proj's output
  kValues,  // the heads' values
  kKvB      // per head: nope channels of keys, which stay, and values
};

// A linear, norm, matrix or vector of a layer; of routed experts, one stands for all.
struct TensorSchema {
  std::string_view path;  // "self_attn.q_a_proj" in its layer; "gate_proj" in its expert; without ".weight"
  TensorForm form = TensorForm::kLinear;
  TensorRole role = TensorRole::kQProj;
  LayerPart part = LayerPart::kOutside;
  std::int64_t rows = 0;  // out
  std::int64_t cols = 0;  // in; 0 for norms and vectors
  InputKind reads = InputKind::kNone;
  // Norms whose outputs it multiplies: none, one, or of eh_proj two that stand side by side.
  std::array<std::optional<TensorRole>, 2> norms{};
  TensorSplit split = TensorSplit::kWhole;
  ChannelSpace row_space = ChannelSpace::kNone, column_space = ChannelSpace::kNone;
  bool moves = false;     // a norm whose weight a rotation of the model moves into the linears behind it
  bool optional = false;  // a checkpoint may lack it

  bool may_be_int8() const { return form == TensorForm::kLinear; }
};

// The tensors of a decoder or MTP layer in the order of computation, or of what stands outside the layers.
struct LayerSchema {
  std::int64_t layer = -1;  // -1: outside
  std::int64_t experts = 0;
  std::vector<TensorSchema> tensors;  // a routed expert's once

  // REQUIRES (get): there is one. `part` tells apart the MLPs of a layer.
  const TensorSchema* find(TensorRole role) const;
  const TensorSchema* find(TensorRole role, LayerPart part) const;
  const TensorSchema& get(TensorRole role) const;
  const TensorSchema& get(TensorRole role, LayerPart part) const;
  // "model.layers.3.mlp.experts.7.gate_proj"; expert: only of kExpert.
  std::string name(const TensorSchema& tensor, std::int64_t expert = -1) const;
  std::string name(TensorRole role) const { return name(get(role)); }
  // The same with ".weight", but for vectors.
  std::string weight(const TensorSchema& tensor, std::int64_t expert = -1) const;
  std::string weight(TensorRole role) const { return weight(get(role)); }
};

// "model.layers.3"
std::string layer_name(std::int64_t layer);
// "model.layers.3.self_attn", which FA scales are of
std::string attention_name(std::int64_t layer);

// layer: from num_hidden_layers on, an MTP layer.
LayerSchema layer_schema(const ModelConfig& config, std::int64_t layer);
LayerSchema outside_schema(const ModelConfig& config);

// Calls visit(tensor, expert) for every tensor; expert is -1 but for those of routed experts, of which all of
// one expert come before the next.
template <class Visit>
void for_each_tensor(const LayerSchema& schema, const Visit& visit) {
  for (std::size_t i = 0; i < schema.tensors.size();) {
    std::size_t end = i;
    while (end < schema.tensors.size() && schema.tensors[end].part == LayerPart::kExpert) ++end;
    for (std::int64_t e = 0; end > i && e < schema.experts; ++e)
      for (std::size_t t = i; t < end; ++t) visit(schema.tensors[t], e);
    if (end == i) visit(schema.tensors[end++], std::int64_t{-1});
    i = end;
  }
}

// A decoder layer's tensors in the order in which its modules are registered, which indices and descriptions
// keep: its own two norms come last. Of an MTP layer without what only that has.
template <class Visit>
void for_each_listed(const LayerSchema& schema, const Visit& visit) {
  for (const bool norms : {false, true})
    for_each_tensor(schema, [&](const TensorSchema& tensor, std::int64_t expert) {
      const bool own_norm =
          tensor.role == TensorRole::kInputNorm || tensor.role == TensorRole::kPostAttentionNorm;
      if (own_norm == norms && tensor.part != LayerPart::kMtp) visit(tensor, expert);
    });
}

// All of a model's tensors by name. Holds no name: routed experts cost nothing.
class ModelSchema {
 public:
  struct Found {
    const TensorSchema* tensor;
    std::int64_t layer;       // -1: outside
    std::int64_t expert;      // -1 but for tensors of routed experts
    std::string_view suffix;  // what follows the path in the name asked for: ".weight", ".bias"; "": a vector
  };

  explicit ModelSchema(const ModelConfig& config);

  const LayerSchema& outside() const { return outside_; }
  // layer: MTP layers included. REQUIRES: the model has it.
  const LayerSchema& layer(std::int64_t layer) const { return layers_[static_cast<std::size_t>(layer)]; }
  // Decoder layers, then MTP layers.
  const std::vector<LayerSchema>& layers() const { return layers_; }
  // What the tensor of a checkpoint is, whatever follows its path; none: no tensor of the model.
  std::optional<Found> find(std::string_view name) const;
  // Whether the model reads a tensor of this name: a weight or bias, its scales in any form that is read, the
  // doubles of norms, or scales of the int8 cache.
  bool knows(std::string_view name) const;

 private:
  LayerSchema outside_;
  std::vector<LayerSchema> layers_;
};

// Throws: Error{kCorrupt} naming the first weight, norm or vector whose shape is not the config's.
void check_shapes(const ModelSchema& schema, const TensorMap& tensors);

}  // namespace latent8
