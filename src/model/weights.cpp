#include "model/weights.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "formats/layer_schema.h"
#include "model/unread_tensors.h"
#include "model/weight_reader.h"

namespace latent8 {
namespace {

using Part = LayerPart;
using Role = TensorRole;

constexpr std::int64_t kCopyAlignment = 64;  // a cache line, a ZMM register

// Reads a layer's tensors by what they are.
class LayerReader {
 public:
  LayerReader(WeightReader& reader, LayerSchema schema) : reader_(reader), schema_(std::move(schema)) {}

  Linear linear(Role role) { return linear(schema_.get(role)); }
  Linear gate() {
    const TensorSchema& tensor = schema_.get(Role::kRouter);
    return reader_.gate(schema_.name(tensor), tensor.rows, tensor.cols);
  }
  Norm norm(Role role) {
    const TensorSchema& tensor = schema_.get(role);
    return reader_.norm(schema_.name(tensor), tensor.rows);
  }
  std::span<const float> vector(Role role) {
    const TensorSchema& tensor = schema_.get(role);
    return reader_.vector(schema_.name(tensor), tensor.rows);
  }
  GatedMlp mlp(Part part, std::int64_t expert = -1) {
    return {linear(schema_.get(Role::kGateProj, part), expert),
            linear(schema_.get(Role::kUpProj, part), expert),
            linear(schema_.get(Role::kDownProj, part), expert)};
  }
  // A linear whose rows are looked up.
  Linear embedding(Role role) {
    const TensorSchema& tensor = schema_.get(role);
    return reader_.embedding(schema_.name(tensor), tensor.rows, tensor.cols);
  }
  // Tensors that the checkpoint may lack.
  Linear embedding_or(Role role, const Linear& instead) {
    return reader_.has(schema_.weight(role)) ? embedding(role) : instead;
  }
  Linear linear_or(Role role, const Linear& instead) {
    return reader_.has(schema_.weight(role)) ? linear(role) : instead;
  }
  // REQUIRES: form kMatrix. Throws for an int8 form.
  Linear matrix(Role role, const char* why) {
    Linear out = linear(role);
    if (out.kind != Linear::Kind::kFloat)
      throw_error(ErrorCode::kUnsupported,
                  "tensor '{}': FLOAT expected in the description{}, got an int8 form", schema_.weight(role),
                  why);
    return out;
  }

  const LayerSchema& schema() const { return schema_; }

 private:
  Linear linear(const TensorSchema& tensor, std::int64_t expert = -1) {
    return reader_.linear(schema_.name(tensor, expert), tensor.rows, tensor.cols);
  }

  WeightReader& reader_;
  const LayerSchema schema_;
};

AttentionWeights read_attention(LayerReader& layer, const ModelConfig& c) {
  AttentionWeights w;
  if (layer.schema().find(Role::kQProj) != nullptr) {
    w.q_proj = layer.linear(Role::kQProj);
  } else {
    w.q_a_proj = layer.linear(Role::kQAProj);
    w.q_a_layernorm = layer.norm(Role::kQANorm);
    w.q_b_proj = layer.linear(Role::kQBProj);
  }
  w.kv_a_proj_with_mqa = layer.linear(Role::kKvAProj);
  w.kv_a_layernorm = layer.norm(Role::kKvANorm);
  const Linear kv_b = layer.matrix(Role::kKvBProj, " (it is absorbed into the query)");
  const std::int64_t heads = c.num_attention_heads, rows = c.qk_nope_head_dim + c.v_head_dim;
  w.w_uk = {heads, c.qk_nope_head_dim, c.kv_lora_rank, 0, rows, kv_b};
  w.w_uv = {heads, c.v_head_dim, c.kv_lora_rank, c.qk_nope_head_dim, rows, kv_b};
  w.o_proj = layer.linear(Role::kOProj);
  return w;
}

MoeWeights read_moe(LayerReader& layer, const LoadOptions& options) {
  MoeWeights w;
  w.gate = layer.gate();
  if (layer.schema().find(Role::kRouterBias) != nullptr)
    w.e_score_correction_bias = layer.vector(Role::kRouterBias);
  for (std::int64_t e = 0; e < layer.schema().experts && options.routed_experts; ++e)
    w.experts.push_back(layer.mlp(Part::kExpert, e));
  if (layer.schema().find(Role::kGateProj, Part::kSharedExpert) != nullptr)
    w.shared_experts = layer.mlp(Part::kSharedExpert);
  return w;
}

MtpWeights read_mtp(WeightReader& reader, const ModelWeights& model, const LoadOptions& options,
                    WeightStorage& storage) {
  const std::int64_t index = model.config.num_hidden_layers;
  LayerReader layer(reader, layer_schema(model.config, index));
  MtpWeights w;
  w.input = load_mtp_input(reader.checkpoint(), storage);
  w.layer = load_layer(reader.checkpoint(), index, options, storage);
  w.shared_head_norm = layer.norm(Role::kSharedHeadNorm);
  w.embed_tokens = layer.embedding_or(Role::kMtpEmbedTokens, model.embed_tokens);
  w.shared_head = layer.linear_or(Role::kSharedHead, model.lm_head);
  return w;
}

}  // namespace

bool has_mtp(const Checkpoint& checkpoint) {
  const ModelConfig& c = checkpoint.config();
  return c.num_nextn_predict_layers > 0 &&
         checkpoint.find(layer_schema(c, c.num_hidden_layers).weight(Role::kEhProj)) != nullptr;
}

void load_attention_half(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                         WeightStorage& storage, LayerWeights& out) {
  const ModelConfig& c = checkpoint.config();
  WeightReader reader(checkpoint, storage);
  LayerReader tensors(reader, layer_schema(c, layer));
  out.input_layernorm = tensors.norm(Role::kInputNorm);
  out.attention = read_attention(tensors, c);
  out.attention.fa = read_fa_scales(checkpoint, layer, c.num_attention_heads, {options.accept_unit_scales});
}

void load_mlp_half(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                   WeightStorage& storage, LayerWeights& out) {
  WeightReader reader(checkpoint, storage);
  LayerReader tensors(reader, layer_schema(checkpoint.config(), layer));
  out.post_attention_layernorm = tensors.norm(Role::kPostAttentionNorm);
  if (tensors.schema().experts > 0)
    out.moe = read_moe(tensors, options);
  else
    out.mlp = tensors.mlp(Part::kDenseMlp);
}

LayerWeights load_layer(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                        WeightStorage& storage) {
  LayerWeights w;
  load_attention_half(checkpoint, layer, options, storage, w);
  load_mlp_half(checkpoint, layer, options, storage, w);
  return w;
}

GatedMlp load_expert(const Checkpoint& checkpoint, std::int64_t layer, std::int64_t expert,
                     WeightStorage& storage) {
  WeightReader reader(checkpoint, storage);
  return LayerReader(reader, layer_schema(checkpoint.config(), layer)).mlp(Part::kExpert, expert);
}

MtpInputWeights load_mtp_input(const Checkpoint& checkpoint, WeightStorage& storage) {
  const ModelConfig& c = checkpoint.config();
  WeightReader reader(checkpoint, storage);
  LayerReader layer(reader, layer_schema(c, c.num_hidden_layers));
  return {layer.norm(Role::kENorm), layer.norm(Role::kHNorm), layer.linear(Role::kEhProj)};
}

namespace {

// Everything but the MTP layer, of `layers` decoder layers.
void read_main(const Checkpoint& checkpoint, std::int64_t layers, const LoadOptions& options,
               ModelWeights& model) {
  const ModelConfig& c = checkpoint.config();
  WeightReader reader(checkpoint, model.storage);
  LayerReader outside(reader, outside_schema(c));
  model.embed_tokens = outside.embedding(Role::kEmbedTokens);
  for (std::int64_t l = 0; l < layers; ++l)
    model.layers.push_back(load_layer(checkpoint, l, options, model.storage));
  model.norm = outside.norm(Role::kFinalNorm);
  model.lm_head = c.tie_word_embeddings ? model.embed_tokens : outside.linear(Role::kLmHead);
}

// Bytes of the tensors that a model without its MTP layer (or with it) reads, each rounded up to 64.
std::int64_t bytes_to_copy(const Checkpoint& checkpoint, bool mtp) {
  const ModelSchema schema(checkpoint.config());
  std::int64_t bytes = 0;
  for (const auto& [name, view] : checkpoint.tensors()) {
    const std::optional<ModelSchema::Found> found = schema.find(name);
    if (found && (mtp || found->layer < checkpoint.config().num_hidden_layers))
      bytes += (view.size_bytes() + kCopyAlignment - 1) / kCopyAlignment * kCopyAlignment;
  }
  return bytes;
}

}  // namespace

const void* WeightCopies::add(std::span<const std::byte> from) {
  std::byte* to = memory_.data() + used_;
  used_ += (static_cast<std::int64_t>(from.size()) + kCopyAlignment - 1) / kCopyAlignment * kCopyAlignment;
  LATENT8_CHECK(used_ <= memory_.bytes());
  copies_.push_back({to, from});
  return to;
}

void WeightCopies::run(ThreadPool& pool) {
  const auto start = std::chrono::steady_clock::now();
  copy_all(pool, copies_);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const auto bytes = static_cast<double>(used_);
  log_info(fmt::format(
      "copied {:.2f} GiB of weights into memory in {:.2f} s, {:.2f} GB/s, with {} threads{}", bytes / 0x1p30,
      seconds.count(), bytes / 1e9 / std::max(seconds.count(), 1e-9), pool.threads(),
      memory_.nodes() > 1 ? fmt::format(", in turns on {} NUMA nodes", memory_.nodes()) : ""));
  copies_.clear();
}

ModelWeights load_weights(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options) {
  refuse_unread_tensors(*checkpoint, options.ignore_unread_tensors);
  ModelWeights model;
  model.config = checkpoint->config();
  const ModelConfig& c = model.config;
  if (const ContextLimit limit = c.context_limit(); limit.tokens < c.max_position_embeddings)
    log_warn(fmt::format("contexts end at {} tokens instead of {} ({})", limit.tokens,
                         c.max_position_embeddings, limit.reason));
  const bool with_mtp = options.load_mtp && has_mtp(*checkpoint);
  if (options.copy) model.storage.copy = std::make_unique<WeightCopies>(bytes_to_copy(*checkpoint, with_mtp));
  read_main(*checkpoint, c.num_hidden_layers, options, model);
  if (with_mtp) {
    WeightReader reader(*checkpoint, model.storage);
    model.mtp = read_mtp(reader, model, options, model.storage);
  } else if (options.load_mtp && c.num_nextn_predict_layers > 0) {
    log_info(
        fmt::format("config.json names {} MTP layer(s), the checkpoint has none of their tensors: MTP is off",
                    c.num_nextn_predict_layers));
  }
  if (options.copy) {
    ThreadPool pool(options.threads);
    model.storage.copy->run(pool);
  }
  model.checkpoint = std::move(checkpoint);
  return model;
}

}  // namespace latent8
