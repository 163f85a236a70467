#pragma once
// The weights of a model: views of the mapped checkpoint, with small tensors (norms, scales) widened to fp32.

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "formats/checkpoint.h"
#include "formats/fa_tensors.h"
#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/grouped_mlp.h"
#include "ops/linear.h"
#include "sys/interleaved_memory.h"

namespace latent8 {

struct AttentionWeights {
  std::optional<Linear> q_proj;    // [heads * qk_head_dim, hidden]; models without q_lora_rank
  std::optional<Linear> q_a_proj;  // [q_lora_rank, hidden]
  Norm q_a_layernorm;              // [q_lora_rank]
  std::optional<Linear> q_b_proj;  // [heads * qk_head_dim, q_lora_rank]
  Linear kv_a_proj_with_mqa;       // [kv_lora_rank + rope, hidden]
  Norm kv_a_layernorm;             // [kv_lora_rank]
  HeadWeights w_uk;                // heads x [qk_nope_head_dim, kv_lora_rank], views of kv_b_proj
  HeadWeights w_uv;                // heads x [v_head_dim, kv_lora_rank], views of kv_b_proj
  Linear o_proj;                   // [hidden, heads * v_head_dim]
  std::optional<FaScales> fa;      // none: the layer's cache is float
};

struct MoeWeights {
  Linear gate;                                     // [n_routed_experts, hidden], always float
  std::span<const float> e_score_correction_bias;  // [n_routed_experts]; empty: none
  std::vector<GatedMlp> experts;                   // [n_routed_experts]
  std::optional<GatedMlp> shared_experts;          // intermediate = n_shared_experts * moe_intermediate_size
};

struct LayerWeights {
  Norm input_layernorm;  // [hidden]
  AttentionWeights attention;
  Norm post_attention_layernorm;           // [hidden]
  std::optional<GatedMlp> mlp;             // a dense layer
  std::optional<MoeWeights> moe;           // or an MoE layer
  std::optional<Norm> post_mlp_layernorm;  // [hidden] of what the experts add up to
};

// What enters the MTP layer: eh_proj([enorm(embedding of the next token); hnorm(hidden)]).
struct MtpInputWeights {
  Norm enorm, hnorm;  // [hidden]
  Linear eh_proj;     // [hidden, 2 * hidden]
};

// Multi-token prediction: its input, one decoder layer, a norm.
struct MtpWeights {
  MtpInputWeights input;
  LayerWeights layer;
  Norm shared_head_norm;  // [hidden]
  Linear embed_tokens;    // the main model's unless the checkpoint has its own
  Linear shared_head;
};

// Copies of weights: their places are given out while the model is read, and filled when it is complete.
class WeightCopies {
 public:
  // bytes: of all tensors that will be added, each rounded up to 64. Throws: as InterleavedMemory.
  explicit WeightCopies(std::int64_t bytes) : memory_(bytes, "--load copy: a copy of the weights") {}
  // Where the bytes will be, aligned to 64. `from` is read by run().
  const void* add(std::span<const std::byte> from);
  void run(ThreadPool& pool);  // logs size and rate
  std::int64_t bytes() const { return used_; }

 private:
  InterleavedMemory memory_;
  std::int64_t used_ = 0;
  std::vector<Copy> copies_;
};

// Ownership: owns every tensor that is not a view of the checkpoint; deques keep their elements in place.
struct WeightStorage {
  std::deque<AlignedBuffer<float>> floats;
  std::deque<AlignedBuffer<std::int32_t>> ints;
  std::deque<AlignedBuffer<std::byte>> bytes;
  std::unique_ptr<WeightCopies> copy;  // nullptr: weights stay where they are mapped
};

struct ModelWeights {
  ModelConfig config;
  Linear embed_tokens;  // [vocab, hidden], read by row
  std::vector<LayerWeights> layers;
  Norm norm;       // [hidden]
  Linear lm_head;  // [vocab, hidden]
  std::optional<MtpWeights> mtp;
  std::shared_ptr<const Checkpoint>
      checkpoint;  // shared: the quantiser reads layers of one checkpoint one by one
  WeightStorage storage;
};

struct LoadOptions {
  bool accept_unit_scales = false;
  bool load_mtp = true;  // where the checkpoint has it
  bool routed_experts =
      true;           // false: MoeWeights::experts stays empty, for callers that load them one by one
  bool copy = false;  // --load copy: copy weights into huge pages instead of using them in the mapped file
  int threads = 0;    // that copy; 0: one per physical core
  bool ignore_unread_tensors = false;  // do not refuse a checkpoint with tensors that the model does not read
};

// Throws: Error naming the tensor for anything missing, of another shape, of a type that latent8 does not
// run, or with values that cannot be right; and as refuse_unread_tensors().
ModelWeights load_weights(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options = {});
// One decoder layer (the MTP layer's decoder too, at index num_hidden_layers); tensors go into `storage`.
LayerWeights load_layer(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                        WeightStorage& storage);
// The two halves of load_layer(), for the quantiser, which has one at a time in memory.
void load_attention_half(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                         WeightStorage& storage, LayerWeights& out);
void load_mlp_half(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                   WeightStorage& storage, LayerWeights& out);
// One routed expert of a decoder layer.
GatedMlp load_expert(const Checkpoint& checkpoint, std::int64_t layer, std::int64_t expert,
                     WeightStorage& storage);
// The MTP layer's input.
MtpInputWeights load_mtp_input(const Checkpoint& checkpoint, WeightStorage& storage);
// Whether the checkpoint has the tensors of the MTP layer.
bool has_mtp(const Checkpoint& checkpoint);

}  // namespace latent8
