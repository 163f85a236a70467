#include "model/weights.h"

#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "formats/layer_schema.h"
#include "model/weight_reader.h"

namespace latent8 {
namespace {

using Part = LayerPart;
using Role = TensorRole;

// Reads a layer's tensors by what they are.
class LayerReader {
 public:
  LayerReader(WeightReader& reader, LayerSchema schema) : reader_(reader), schema_(std::move(schema)) {}

  Linear linear(Role role) { return linear(schema_.get(role)); }
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
  // A tensor that the checkpoint may lack.
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
  w.gate = layer.linear(Role::kRouter);
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
  w.input = load_mtp_input(reader.checkpoint(), options, storage);
  w.layer = load_layer(reader.checkpoint(), index, options, storage);
  w.shared_head_norm = layer.norm(Role::kSharedHeadNorm);
  w.embed_tokens = layer.linear_or(Role::kMtpEmbedTokens, model.embed_tokens);
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
  WeightReader reader(checkpoint, options, storage);
  LayerReader tensors(reader, layer_schema(c, layer));
  out.input_layernorm = tensors.norm(Role::kInputNorm);
  out.attention = read_attention(tensors, c);
  out.attention.fa = read_fa_scales(checkpoint, layer, c.num_attention_heads, {options.accept_unit_scales});
}

void load_mlp_half(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                   WeightStorage& storage, LayerWeights& out) {
  WeightReader reader(checkpoint, options, storage);
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
  const LoadOptions options;
  WeightReader reader(checkpoint, options, storage);
  return LayerReader(reader, layer_schema(checkpoint.config(), layer)).mlp(Part::kExpert, expert);
}

MtpInputWeights load_mtp_input(const Checkpoint& checkpoint, const LoadOptions& options,
                               WeightStorage& storage) {
  const ModelConfig& c = checkpoint.config();
  WeightReader reader(checkpoint, options, storage);
  LayerReader layer(reader, layer_schema(c, c.num_hidden_layers));
  return {layer.norm(Role::kENorm), layer.norm(Role::kHNorm), layer.linear(Role::kEhProj)};
}

ModelWeights load_weights(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  ModelWeights model;
  model.config = checkpoint->config();
  const ModelConfig& c = model.config;
  WeightReader reader(*checkpoint, options, model.storage);
  LayerReader outside(reader, outside_schema(c));
  model.embed_tokens = outside.matrix(Role::kEmbedTokens, "");
  for (std::int64_t l = 0; l < c.num_hidden_layers; ++l)
    model.layers.push_back(load_layer(*checkpoint, l, options, model.storage));
  model.norm = outside.norm(Role::kFinalNorm);
  model.lm_head = c.tie_word_embeddings ? model.embed_tokens : outside.linear(Role::kLmHead);
  if (options.load_mtp && has_mtp(*checkpoint))
    model.mtp = read_mtp(reader, model, options, model.storage);
  else if (options.load_mtp && c.num_nextn_predict_layers > 0)
    log_info(
        fmt::format("config.json names {} MTP layer(s), the checkpoint has none of their tensors: MTP is off",
                    c.num_nextn_predict_layers));
  model.checkpoint = std::move(checkpoint);
  if (options.copy) {
    double bytes = 0;
    for (const auto& buffer : model.storage.bytes) bytes += static_cast<double>(buffer.size());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    log_info(
        fmt::format("copied {:.2f} GiB of weights into memory in {:.2f} s", bytes / 0x1p30, seconds.count()));
  }
  return model;
}

}  // namespace latent8
